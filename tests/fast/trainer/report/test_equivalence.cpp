// Difference and sameness of two arms, against scipy 1.17.1 and statsmodels 0.15.0, and over simulated experiments whose truth is known.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <numbers>

#include "core/random.h"
#include "trainer/report/equivalence.h"

using namespace isobath;
using Catch::Approx;

namespace {

constexpr double exact = 1e-10;

// Losses whose differences in per cent are these.
PairedDifference paired(std::vector<double> const& percent) {
  std::vector<double> arm;
  for (double const p : percent) arm.push_back(1 + p / 100);
  return paired_percent(arm, std::vector<double>(arm.size(), 1.0));
}

// Experiments of n seeds whose differences are normal around `truth`.
class Simulation {
 public:
  Simulation(double truth, double scatter, int64_t n) : truth_(truth), scatter_(scatter), n_(n) {}

  PairedDifference next() {
    std::vector<double> percent;
    for (int64_t i = 0; i < n_; ++i) percent.push_back(truth_ + scatter_ * random_normal(7, drawn_++));
    return paired(percent);
  }
  // Share of 1000 experiments for which this holds.
  template <typename Holds>
  double share(Holds holds) {
    int hits = 0;
    for (int i = 0; i < 1000; ++i) hits += holds(next());
    return hits / 1000.0;
  }

 private:
  double truth_, scatter_;
  int64_t n_;
  uint64_t drawn_ = 0;
};

bool decides(PairedDifference const& d, Decision decision) { return equivalence(d, 0.5)->decision == decision; }

}  // namespace

TEST_CASE("equivalence: t-test and two one-sided tests, against scipy") {
  // stats.ttest_1samp(d, 0).pvalue; the larger of ttest_1samp(d, -m, alternative="greater") and (d, m, "less")
  PairedDifference const d = paired({0.12, -0.31, 0.15, -0.22, -0.38});
  CHECK(d.percent == Approx(-0.128).epsilon(exact));
  CHECK(*d.half_width == Approx(0.30659296578040357).epsilon(exact));
  CHECK(paired_p(d) == Approx(0.31088096416796057).epsilon(exact));
  CHECK(equivalence_p(d, 0.5) == Approx(0.0140379972029419).epsilon(exact));
  CHECK(equivalence_p(d, 0.2) == Approx(0.2749792831329736).epsilon(exact));
  CHECK(equivalence_p(d, 0.1) == Approx(0.5938334148316984).epsilon(exact));
  CHECK(std::isnan(paired_p(paired({0.1}))));
  CHECK(std::isnan(equivalence_p(paired({0.1}), 0.5)));
  CHECK(paired_p(paired({0.0, 0.0})) == 1);
  CHECK(equivalence_p(paired({0.0, 0.0}), 0.5) == 0);
}

TEST_CASE("equivalence: Holm's correction, against statsmodels") {
  std::vector<double> const adjusted =
      holm({0.01, 0.04, 0.03, 0.005, std::nan(""), 0.2});  // multipletests(p, method="holm"), without the NaN
  std::vector<double> const expected{0.04, 0.09, 0.09, 0.025, 0, 0.2};
  for (size_t i = 0; i < adjusted.size(); ++i)
    if (i != 4) CHECK(adjusted[i] == Approx(expected[i]).epsilon(exact));
  CHECK(std::isnan(adjusted[4]));
  CHECK(holm({0.9, 0.8}) == std::vector<double>{1, 1});
}

TEST_CASE("equivalence: power, against scipy's noncentral t and its quadrature") {
  CHECK(difference_power(0.5, 0.3, 3) == Approx(0.3671635698316868).epsilon(exact));
  CHECK(difference_power(0.5, 0.3, 5) == Approx(0.7932202350526227).epsilon(exact));
  CHECK(difference_power(-0.1, 0.5, 10) == Approx(0.08765715402846738).epsilon(exact));
  CHECK(difference_power(1.0, 0.25, 3) == Approx(0.9084887436810317).epsilon(exact));
  CHECK(difference_power(0, 0.3, 4) == Approx(0.05).epsilon(exact));
  CHECK(difference_power(50, 0.01, 3) == Approx(1));
  CHECK(equivalence_power(0, 0.3, 0.5, 3) == Approx(0.4054859390684254).epsilon(1e-8));
  CHECK(equivalence_power(0, 0.3, 0.5, 5) == Approx(0.8363247771839399).epsilon(1e-8));
  CHECK(equivalence_power(-0.1, 0.2, 0.5, 5) == Approx(0.9746991192815992).epsilon(1e-8));
  CHECK(equivalence_power(0.3, 0.2, 0.5, 10) == Approx(0.8975169943396828).epsilon(1e-8));
  CHECK(equivalence_power(0, 0.05, 0.5, 3) == Approx(0.9999999999992454).epsilon(1e-8));
  CHECK(difference_power(detectable_difference(0.3, 5), 0.3, 5) == Approx(0.8).epsilon(1e-9));
}

TEST_CASE("equivalence: of simulated experiments, few are decided wrongly and power is as predicted") {
  for (int64_t const n : {3, 5, 10}) {
    INFO("seeds: " << n);
    double const scatter = 0.3;
    // Nothing differs: "better" and "worse" by chance in 5 of 100; the interval covers the truth in 95.
    CHECK(Simulation(0, scatter, n).share([](auto const& d) { return decides(d, Decision::better); }) <= 0.05);
    double const covered = Simulation(0.2, scatter, n).share([](auto const& d) { return std::abs(d.percent - 0.2) <= *d.half_width; });
    CHECK(covered >= 0.93);
    CHECK(covered <= 0.97);
    // They differ by just the margin: "equal" would be false.
    CHECK(Simulation(0.5, scatter, n).share([](auto const& d) { return decides(d, Decision::equal); }) <= 0.05);
    for (double const truth : {0.0, 0.2, 0.6}) {
      double const different = Simulation(truth, scatter, n).share([](auto const& d) { return d.significant(); });
      CHECK(different == Approx(difference_power(truth, scatter, n)).margin(0.03));
      double const equal = Simulation(truth, scatter, n).share([](auto const& d) { return equivalence_p(d, 0.5) < 0.05; });
      CHECK(equal == Approx(equivalence_power(truth, scatter, 0.5, n)).margin(0.03));
    }
  }
}

TEST_CASE("equivalence: verdicts, and how many seeds would decide") {
  auto const verdict = [](std::vector<double> const& percent) {
    PairedDifference const d = paired(percent);
    return describe(*equivalence(d, 0.5), d.n);
  };
  CHECK(verdict({-1.0, -1.1, -0.9}) == "better");
  CHECK(verdict({0.2, 0.21, 0.22}) == "worse");  // small, but surely there
  CHECK(verdict({0.1, -0.1, 0.05}) == "equal within 0.5 % (3 seeds)");
  // +1 % and -1 %: the scatter is 1.414 %, and 70 seeds find arms of equal loss equal within 0.5 % with a chance of 80 %, 69 do not.
  CHECK(verdict({1.0, -1.0}) == "undecided: 68 more seeds would probably decide");
  CHECK(equivalence_power(0, std::numbers::sqrt2, 0.5, 70) > 0.8);
  CHECK(equivalence_power(0, std::numbers::sqrt2, 0.5, 69) < 0.8);
  CHECK(verdict({40.0, -39.0}) == "undecided: more than 1000 seeds would be needed");
  CHECK_FALSE(equivalence(paired({0.1}), 0.5));
}
