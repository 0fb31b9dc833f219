#include <catch2/catch_test_macros.hpp>

#include <limits>
#include <new>
#include <stdexcept>

#include "core/error.h"
#include "trainer/run/machine.h"
#include "trainer/run/memory.h"

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

TEST_CASE("memory: what is not there is refused before it is taken, with what would need less", "[machine]") {
  Config config;
  CHECK_FALSE(check_memory(config, {1e6, 1e6}));
  try {
    check_memory(config, {1e18, 1});
    FAIL("no machine has as much");
  } catch (Error const& error) {
    std::string const what = error.what();
    CHECK(error.code() == ExitCode::allocation);
    CHECK(what.find("model.width") != std::string::npos);
    CHECK(what.find("free") != std::string::npos);
  }
  try {
    check_memory(config, {1, 1e18});
    FAIL("no machine has as much");
  } catch (Error const& error) {
    CHECK(std::string(error.what()).find("train.micro_batch_tokens") != std::string::npos);
  }
}

TEST_CASE("memory: LibTorch's refusals are told from other errors", "[machine]") {
  std::runtime_error const of_cpu(
      "[enforce fail at alloc_cpu.cpp:118] err == 0. DefaultCPUAllocator: can't allocate memory: you tried to "
      "allocate 268435456 bytes. Error code 12");
  CHECK(refused_memory(of_cpu).value().starts_with("an allocation of 256.0 MiB was refused"));
  std::runtime_error const of_gpu("CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 79 GiB");
  CHECK(refused_memory(of_gpu).value().starts_with("an allocation of 2.50 GiB was refused"));
  CHECK(refused_memory(std::bad_alloc()).has_value());
  CHECK_FALSE(refused_memory(std::runtime_error("mat1 and mat2 shapes cannot be multiplied")));
}
