#include <catch2/catch_test_macros.hpp>

#include "trainer/run/machine.h"

using namespace isobath;

TEST_CASE("peak: steps never run faster than the peak that they are a share of", "[machine]") {
  PeakFlops const low{1e6, "a busy machine"};
  PeakFlops const again = corrected_peak(low, 2e6, at::kCPU, Precision::fp32);
  CHECK(again.per_s > 1e8);  // measured anew: no machine of ours is that slow
  CHECK(again.source.find("matrix product") != std::string::npos);
  CHECK(corrected_peak(low, 5e5, at::kCPU, Precision::fp32).per_s == 1e6);
  PeakFlops const outrun = corrected_peak(low, 1e18, at::kCPU, Precision::fp32);
  CHECK(outrun.per_s == 1e18);
  CHECK(outrun.source != low.source);
}
