#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "trainer/report/statistics.h"

using namespace isobath;
using Catch::Approx;

TEST_CASE("statistics: quantiles of Student's t agree with printed tables") {
  CHECK(student_t_quantile(0.975, 1) == Approx(12.7062047).epsilon(1e-8));
  CHECK(student_t_quantile(0.975, 2) == Approx(4.30265273).epsilon(1e-8));
  CHECK(student_t_quantile(0.975, 4) == Approx(2.77644511).epsilon(1e-8));
  CHECK(student_t_quantile(0.95, 9) == Approx(1.83311293).epsilon(1e-8));
  CHECK(student_t_quantile(0.975, 30) == Approx(2.04227246).epsilon(1e-8));
  CHECK(student_t_quantile(0.975, 1e6) == Approx(1.95996635).epsilon(1e-5));
  CHECK(student_t_quantile(0.025, 4) == Approx(-2.77644511).epsilon(1e-8));
}

TEST_CASE("statistics: the t distribution is symmetric and its quantile inverts it") {
  for (double degrees : {1.0, 2.0, 3.0, 7.0, 40.0})
    for (double t : {0.0, 0.3, 1.0, 2.5, 4.0}) {
      CHECK(student_t_cdf(t, degrees) + student_t_cdf(-t, degrees) == Approx(1));
      CHECK(student_t_quantile(student_t_cdf(t, degrees), degrees) == Approx(t).margin(1e-6));
    }
  CHECK(student_t_cdf(1, 1) == Approx(0.75));  // Cauchy
}

TEST_CASE("statistics: mean, sample deviation and median") {
  Spread const s = spread({2, 4, 4, 4, 5, 5, 7, 9});
  CHECK(s.mean == 5);
  CHECK(s.std == Approx(std::sqrt(32.0 / 7)));
  CHECK(spread({3}).std == 0);
  CHECK(spread({}).n == 0);
  CHECK(median({5, 1, 3}) == 3);
  CHECK(median({4, 1, 3, 2}) == 2.5);
}

TEST_CASE("statistics: a paired difference ignores what the seeds share") {
  // Seeds differ by 10 %, arms by about 1 %: only pairing can see it.
  PairedDifference const d = paired_percent({2.97, 3.267, 3.6}, {3.0, 3.3, 3.63});
  CHECK(d.n == 3);
  CHECK(d.percent == Approx(-0.9421).epsilon(1e-3));
  REQUIRE(d.half_width);
  CHECK(*d.half_width == Approx(0.249).epsilon(1e-2));
  CHECK(d.significant());
  CHECK(verdict(d) == "better by 0.9 % +- 0.2, 3 seeds");
  CHECK(verdict(paired_percent({3.0, 3.3, 3.63}, {2.97, 3.267, 3.6})).starts_with("worse by 1.0 %"));
}

TEST_CASE("statistics: what few seeds cannot show is said so") {
  PairedDifference const two = paired_percent({3.0, 3.1}, {3.05, 3.06});
  CHECK_FALSE(two.significant());
  CHECK(verdict(two).starts_with("no significant difference ("));
  PairedDifference const one = paired_percent({2.9}, {3.0});
  CHECK_FALSE(one.half_width);
  CHECK_FALSE(one.significant());
  CHECK(verdict(one) == "-3.33 % (one seed: no confidence interval)");
  CHECK(verdict(paired_percent({}, {})).starts_with("not measured"));
}

TEST_CASE("statistics: the 95 % interval covers the truth 95 times in 100") {
  int covered = 0;
  constexpr int trials = 4000;
  for (int trial = 0; trial < trials; ++trial) {
    std::vector<double> arm, baseline;
    for (int seed = 0; seed < 4; ++seed) {
      baseline.push_back(3);
      arm.push_back(3 * (1 - 0.01 + 0.004 * random_normal(make_key({7}), static_cast<uint64_t>(4 * trial + seed))));
    }
    PairedDifference const d = paired_percent(arm, baseline);
    covered += std::abs(d.percent + 1) <= *d.half_width;
  }
  double const share = static_cast<double>(covered) / trials;
  CHECK(share > 0.94);
  CHECK(share < 0.96);
}

TEST_CASE("statistics: the best fixed threshold on independent scores, at 12.5 %") {
  CHECK(threshold_f1_ceiling(8, 64) == Approx(0.86).margin(0.01));
  CHECK(threshold_f1_ceiling(32, 256) == Approx(0.93).margin(0.01));
  CHECK(threshold_f1_ceiling(64, 512) == Approx(0.95).margin(0.01));
  CHECK(threshold_f1_ceiling(256, 2048) == Approx(0.98).margin(0.01));
  CHECK(threshold_f1_ceiling(16, 16) == 1);
}

TEST_CASE("statistics: a bootstrap interval has the quantiles of all resamples there are") {
  std::vector<double> const values{0.3, 1.9, 2.2, 4.0, 7.5, 11.0};
  std::vector<double> means;  // of all 6^6 resamples
  for (int resample = 0; resample < 46656; ++resample) {
    double sum = 0;
    for (int rest = resample, item = 0; item < 6; ++item, rest /= 6) sum += values[static_cast<size_t>(rest % 6)];
    means.push_back(sum / 6);
  }
  auto const share_below = [&](double value) {
    auto const below = std::count_if(means.begin(), means.end(), [&](double mean) { return mean < value; });
    return static_cast<double>(below) / static_cast<double>(means.size());
  };
  for (uint64_t const seed : {1u, 2u, 3u}) {
    auto const [low, high] = bootstrap_interval(6, seed, [&](std::vector<int64_t> const& drawn) {
      double sum = 0;
      for (int64_t const item : drawn) sum += values[static_cast<size_t>(item)];
      return sum / 6;
    });
    CHECK(std::abs(share_below(low) - 0.025) < 0.015);  // three times the error of 1000 draws
    CHECK(std::abs(share_below(high) - 0.975) < 0.015);
  }
}
