// Fits over sizes and budgets, on invented loss surfaces.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "core/random.h"
#include "tests/fast/report_runs.h"
#include "trainer/report/scaling.h"

using namespace isobath;
using Catch::Approx;

namespace {

// loss = floor + bend ln(size / best)^2, of models whose size is their forward FLOPs a token; parameters are half of that, a step
// takes 1e-9 s a FLOP. Seeds shift the losses of all models alike, and each by itself by `noise`.
struct Surface {
  std::string family, budget = "1e12flop";
  double floor = 3, best = 1e5, bend = 0.05, seconds = 1e-9;
};

struct Sample {
  std::vector<double> sizes{2.5e4, 5e4, 1e5, 2e5, 4e5};
  std::vector<int64_t> seeds{1, 2, 3};
  double noise = 0, seed_effect = 0;
  uint64_t experiment = 0;
  double flops = 1e12;
};

void add_rows(std::vector<SweepRow>& rows, Surface const& surface, Sample const& sample) {
  uint64_t const key = make_key({sample.experiment, hash_text(surface.family)});
  uint64_t drawn = 0;
  for (double const size : sample.sizes) {
    SweepRow row;
    row.family = surface.family;
    row.budget = surface.budget;
    row.seeds = sample.seeds;
    for (int64_t const seed : sample.seeds) {
      double const u = std::log(size / surface.best);
      row.losses.push_back(surface.floor + surface.bend * u * u + sample.noise * random_normal(key, drawn++) +
                           sample.seed_effect * random_normal(make_key({sample.experiment}), static_cast<uint64_t>(seed)));
    }
    row.loss = spread(row.losses);
    row.params_non_embedding = size / 2;
    row.forward_flops_per_token_causal = size;
    row.step_time_s = surface.seconds * size;
    row.decode_time_1 = 2 * surface.seconds * size;
    row.train_flops = Int128(static_cast<int64_t>(sample.flops));
    rows.push_back(std::move(row));
  }
}

}  // namespace

TEST_CASE("scaling: a parabola is the least-squares fit over the logarithm of the size") {
  std::vector<double> const sizes{100, 300, 500, 2000, 9000}, losses{3.4, 3.1, 3.15, 2.9, 3.05};
  Parabola const fit = fit_parabola(sizes, losses);
  double residual = 0, first = 0, second = 0;  // what is left has no part in 1, u and u^2
  for (size_t i = 0; i < sizes.size(); ++i) {
    double const u = std::log(sizes[i]), left = losses[i] - fit.at(sizes[i]);
    residual += left;
    first += left * u;
    second += left * u * u;
  }
  CHECK(std::abs(residual) < 1e-12);
  CHECK(std::abs(first) < 1e-11);
  CHECK(std::abs(second) < 1e-10);
  CHECK(fit.at(700) == Approx(3.019394578526936).epsilon(1e-12));  // numpy 2.4.6: polyfit(log(sizes), losses, 2)
  CHECK(fit_parabola(sizes, losses).optimum().value() == Approx(2349.738019662844).epsilon(1e-10));
  Parabola const through = fit_parabola({10, 20, 80}, {3, 2.5, 2.9});
  CHECK(through.at(20) == Approx(2.5).epsilon(1e-12));
}

TEST_CASE("scaling: an optimum at an edge is none") {
  CHECK(*fit_parabola({1, 10, 100}, {2, 1, 2}).optimum() == Approx(10));
  CHECK_FALSE(fit_parabola({1, 10, 100}, {3, 2, 1.5}).optimum());  // falls all the way: 1e2.5
  CHECK_FALSE(fit_parabola({1, 10, 100}, {1, 2, 1}).optimum());    // opens downwards
  std::vector<SweepRow> rows;
  add_rows(rows, {"dense", "1e12flop", 3, 1e7}, {});
  IsoflopFit const fit = fit_isoflop(rows).front();
  CHECK(fit.reason == "the largest size is the best: add larger ones");
  CHECK(fit.curve.lowest() == fit.curve.high);
}

TEST_CASE("scaling: the smallest size that is as good") {
  Parabola const fit = fit_parabola({1, 10, 100}, {2, 1, 2});  // 1 + log10(size / 10)^2
  CHECK(*fit.smallest_with(1.25) == Approx(std::sqrt(10.0)));
  CHECK(*fit.smallest_with(2.5) == 1);
  CHECK_FALSE(fit.smallest_with(0.9));
}

TEST_CASE("scaling: what cannot be fitted says why") {
  std::vector<SweepRow> rows;
  add_rows(rows, {"two"}, {{1e4, 1e5}});
  CHECK(fit_isoflop(rows).front().reason == "2 of the 3 sizes that a fit needs");
  rows.clear();
  add_rows(rows, {"one"}, {{1e4, 1e5, 1e6}, {1}});
  add_rows(rows, {"other"}, {{1e4, 1e5, 1e6}, {2}});
  CHECK(fit_isoflop(rows).front().reason == "no seed has finished all sizes of all families");
  rows.clear();
  add_rows(rows, {"lengths"}, {});
  for (size_t i = 0; i < rows.size(); ++i) rows[i].context = 128 << i;
  std::vector<SweepRow> others = rows;
  for (SweepRow& other : others) other.family = "others";
  rows.insert(rows.end(), others.begin(), others.end());
  CHECK(fit_isoflop(rows).front().reason == "its sizes differ in model.context");
  for (SweepRow& row : rows) row.size = std::to_string(row.context);
  CHECK_FALSE(contains(scaling_table(fit_scaling(rows, "lengths")), "best size"));
}

TEST_CASE("scaling: sizes that were not trained with the same FLOPs are not fitted") {
  std::vector<SweepRow> rows;
  add_rows(rows, {"dense"}, {});
  rows.back().train_flops = Int128(1030000000000);
  CHECK(fit_isoflop(rows).front().reason == "its sizes were not trained with the same FLOPs");
  rows.clear();
  add_rows(rows, {"dense"}, {});
  add_rows(rows, {"mod"}, {.flops = 2e12});
  CHECK(fit_scaling(rows, "dense").best.front().reason == "not trained with the same FLOPs");
}

TEST_CASE("scaling: without noise intervals have no width, and what was not measured has none") {
  std::vector<SweepRow> rows;
  add_rows(rows, {"dense", "1e12flop", 3, 6e4}, {});
  add_rows(rows, {"mod", "1e12flop", 2.97, 2e5}, {});
  rows[6].decode_time_1 = std::nan("");  // of mod, beside the size that is as good
  Scaling const scaling = fit_scaling(rows, "dense");
  BestAgainst const& best = scaling.best.front();
  CHECK(best.loss_percent.low == Approx(-1));
  CHECK(best.loss_percent.high == Approx(-1));
  CHECK(scaling.fits[1].size.low == Approx(6e4));
  CHECK(std::isnan(best.decode_time.low));
  CHECK_FALSE(best.decode_time.has_interval);
  CHECK(best.step_time.has_interval);
  CHECK(std::isfinite(best.step_time.low));
}

TEST_CASE("scaling: points and curve are of the seeds that all families have") {
  std::vector<SweepRow> rows;
  add_rows(rows, {"dense"}, {.seeds = {1, 2, 3}, .noise = 0.1});
  add_rows(rows, {"mod"}, {.seeds = {2}});
  IsoflopFit const fit = fit_isoflop(rows).front();
  CHECK(fit.seeds == std::vector<int64_t>{2});
  CHECK(fit.losses.front() == rows.front().losses[1]);
}

TEST_CASE("scaling: known surfaces are recovered exactly without noise") {
  std::vector<SweepRow> rows;
  for (double const flops : {1e12, 4e12}) {
    std::string const budget = flops < 2e12 ? "1e12flop" : "4e12flop";
    double const grown = std::pow(flops / 1e12, 0.5), fallen = std::pow(flops / 1e12, -0.1);
    add_rows(rows, {"dense", budget, 3 * fallen, 6e4 * grown}, {.flops = flops});
    add_rows(rows, {"mod", budget, 2.94 * fallen, 9e4 * grown, 0.05, 0.5e-9}, {.flops = flops});
  }
  Scaling const scaling = fit_scaling(rows, "dense");
  REQUIRE(scaling.best.size() == 2);
  BestAgainst const& best = scaling.best.front();
  CHECK(best.loss_percent.value == Approx(-2));
  // 2.94 + 0.05 ln(x / 9e4)^2 = 3
  double const as_good = 9e4 * std::exp(-std::sqrt(0.06 / 0.05));
  REQUIRE(best.reaches);
  CHECK_FALSE(best.at_smallest);
  CHECK(best.forward_flops.value == Approx(as_good / 6e4));
  CHECK(best.step_time.value == Approx(0.5 * as_good / 6e4));
  CHECK(best.decode_time.value == Approx(0.5 * as_good / 6e4));
  REQUIRE(scaling.by_compute.size() == 2);
  CHECK(scaling.by_compute[0].loss_exponent.value == Approx(-0.1));
  CHECK(scaling.by_compute[1].size_exponent.value == Approx(0.5));
  auto const json = scaling_json(scaling);
  CHECK(json["isoflop"][1]["optimum"]["value"].get<double>() == Approx(6e4));
  CHECK(json["isoflop"][0]["axis"] == "params_non_embedding");
  CHECK(json["isoflop"][0]["optimum"]["value"].get<double>() == Approx(3e4));
  CHECK(contains(scaling_table(scaling), "at equal loss"));
}

TEST_CASE("scaling: a family that is nowhere as good") {
  std::vector<SweepRow> rows;
  add_rows(rows, {"dense", "1e12flop", 3}, {});
  add_rows(rows, {"mod", "1e12flop", 3.1}, {});
  BestAgainst const best = fit_scaling(rows, "dense").best.front();
  CHECK_FALSE(best.reaches);
  CHECK(best.loss_percent.value == Approx(100 * (3.1 / 3 - 1)));
  CHECK(contains(scaling_table(fit_scaling(rows, "dense")), "no size is as good"));
}

TEST_CASE("scaling: what seeds do to both families alike is no uncertainty of their difference") {
  std::vector<SweepRow> rows;
  Sample const sample{{5e4, 1e5, 2e5}, {1, 2, 3, 4, 5}, 0, 0.1, 7, 1e12};
  add_rows(rows, {"dense", "1e12flop", 3, 1e5}, sample);
  add_rows(rows, {"mod", "1e12flop", 2.94, 1e5}, sample);
  Scaling const scaling = fit_scaling(rows, "dense");
  Bounded const loss = scaling.fits.front().loss, difference = scaling.best.front().loss_percent;
  CHECK(loss.high - loss.low > 0.05);  // nats
  CHECK(difference.high - difference.low < 0.2);
  CHECK(std::abs(difference.value + 2) < 0.2);
}

TEST_CASE("scaling: the intervals of optimum and difference hold the truth, and not everything") {
  int held_size = 0, held_difference = 0, held_wrong_size = 0, held_equality = 0, optima = 0;
  constexpr int experiments = 200;
  for (uint64_t experiment = 0; experiment < experiments; ++experiment) {
    std::vector<SweepRow> rows;
    Sample const sample{{2.5e4, 4e4, 7e4, 1e5, 1.7e5, 2.8e5, 5e5}, {1, 2, 3, 4, 5}, 0.004, 0.02, experiment, 1e12};
    add_rows(rows, {"dense", "1e12flop", 3, 1e5}, sample);
    add_rows(rows, {"mod", "1e12flop", 2.97, 1.3e5}, sample);
    Scaling const scaling = fit_scaling(rows, "dense");
    IsoflopFit const& fit = scaling.fits[1];
    if (!fit.reason.empty() || !scaling.best.front().reason.empty()) continue;
    ++optima;
    held_size += !(fit.size.low > 1e5) && !(fit.size.high < 1e5);
    Bounded const& difference = scaling.best.front().loss_percent;
    held_difference += difference.low <= -1 && -1 <= difference.high;
    held_wrong_size += !(fit.size.low > 1.5e5) && !(fit.size.high < 1.5e5);
    held_equality += difference.low <= 0 && 0 <= difference.high;
  }
  INFO(held_size << ", " << held_difference << ", " << held_wrong_size << ", " << held_equality << " of " << optima);
  CHECK(optima == experiments);
  // Drawing what sizes miss as well as seeds counts the noise of a seed twice: the intervals are wider than they would have to be.
  CHECK(held_size >= 0.95 * experiments);
  CHECK(held_difference >= 0.95 * experiments);
  CHECK(held_wrong_size <= 0.05 * experiments);
  CHECK(held_equality <= 0.05 * experiments);
}

TEST_CASE("scaling: lengths of the input side by side") {
  std::vector<SweepRow> rows;
  for (char const* family : {"dense", "mod"}) {
    Sample const sample{{1e5, 2e5}, {1, 2}, 0, 0, 0, 1e12};
    add_rows(rows, {family, "", family[0] == 'd' ? 3.0 : 3.03}, sample);
  }
  for (size_t i = 0; i < rows.size(); ++i) {
    rows[i].size = i % 2 ? "long" : "short";
    rows[i].context = i % 2 ? 512 : 128;
    if (i >= 2) rows[i].forward_flops_per_token_causal *= 0.75;
  }
  Scaling const scaling = fit_scaling(rows, "dense");
  REQUIRE(scaling.lengths.size() == 2);
  CHECK(scaling.lengths[1].context == 512);
  CHECK(scaling.lengths[1].forward_share == Approx(0.75));
  CHECK(scaling.lengths[0].loss.percent == Approx(1).epsilon(0.2));
  CHECK(contains(scaling_table(scaling), "by length, as a share of dense"));
}

TEST_CASE("scaling: an interval that is open on both sides is not one that is missing") {
  double const infinite = std::numeric_limits<double>::infinity();
  Bounded const open = bounded(1, {-infinite, -infinite, 1, infinite, infinite});
  CHECK(open.has_interval);
  CHECK((std::isnan(open.low) && std::isnan(open.high)));
  CHECK_FALSE(bounded(1, {}).has_interval);
}
