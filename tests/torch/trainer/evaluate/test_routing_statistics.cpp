// Statistics of which tokens a layer chooses, compared with loops that count one token after the other.

#include "trainer/evaluate/routing_statistics.h"

#include <ATen/ATen.h>

#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/generators/catch_generators.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "core/random.h"

using namespace isobath;

namespace {

// What a routed layer did with a text, one entry a token.
struct Routed {
  int64_t length = 0;
  std::vector<int64_t> item;
  std::vector<double> score;
  std::vector<bool> picked, decided, ran;
};

// `levels` > 0: that many different scores. The decision is a coin that knows something of the score.
Routed made_up(uint64_t seed, int64_t sequences, int64_t length, int64_t vocab, int64_t levels) {
  Routed made;
  made.length = length;
  for (uint64_t i = 0; i < static_cast<uint64_t>(sequences * length); ++i) {
    double const noise = random_normal(make_key({seed, 1}), i), uniform = random_uniform(make_key({seed, 2}), i);
    // Squared: some items are frequent, some are not.
    made.item.push_back(static_cast<int64_t>(uniform * uniform * static_cast<double>(vocab)));
    made.score.push_back(levels > 0 ? std::floor(noise * static_cast<double>(levels)) / static_cast<double>(levels) : noise);
    made.picked.push_back(noise + 0.3 * random_normal(make_key({seed, 3}), i) > 0.8);
    made.decided.push_back(noise + 0.5 * random_normal(make_key({seed, 4}), i) > 0.6);
    bool const never = made.item.back() % 5 == 1, always = made.item.back() % 5 == 2;
    made.ran.push_back(always || (!never && made.decided.back()));
  }
  return made;
}

at::Tensor as_mask(std::vector<bool> const& values, int64_t length) {
  at::Tensor mask = at::empty({static_cast<int64_t>(values.size())}, at::kBool);
  for (size_t i = 0; i < values.size(); ++i) mask.data_ptr<bool>()[i] = values[i];
  return mask.view({-1, length});
}

RoutedLayer layer_of(Routed const& routed) {
  at::Tensor const score_BT = at::tensor(routed.score, at::kDouble).view({-1, routed.length});
  return {as_mask(routed.ran, routed.length), as_mask(routed.picked, routed.length), as_mask(routed.decided, routed.length), score_BT};
}

at::Tensor tokens_of(Routed const& routed) { return at::tensor(routed.item, at::kLong).view({-1, routed.length}); }

std::vector<LayerStatistics> statistics_of(std::vector<Routed> const& layers, int64_t vocab) {
  RoutingStatistics statistics(vocab, layers[0].length);
  ModelOutput output;
  for (Routed const& routed : layers) output.routed_layers.push_back(layer_of(routed));
  statistics.add(output, tokens_of(layers[0]));
  return statistics.layers();
}

double f1_of(std::vector<bool> const& decided, std::vector<bool> const& picked) {
  double both = 0, either = 0;
  for (size_t i = 0; i < picked.size(); ++i) {
    both += decided[i] && picked[i];
    either += decided[i] + picked[i];
  }
  return either > 0 ? 2 * both / either : std::nan("");
}

// The F1 of "score >= threshold" for every score there is: the best, and the threshold that has it.
std::pair<double, double> best_by_loop(Routed const& routed) {
  std::pair<double, double> best{-1, 0};
  for (double const threshold : std::set<double>(routed.score.begin(), routed.score.end())) {
    std::vector<bool> yes;
    for (double const score : routed.score) yes.push_back(score >= threshold);
    best = std::max(best, {f1_of(yes, routed.picked), threshold});
  }
  return best;
}

double entropy_of(std::vector<double> const& counts) {
  double const total = std::accumulate(counts.begin(), counts.end(), 0.0);
  double sum = 0;
  for (double const count : counts)
    if (count > 0) sum -= count / total * std::log(count / total);
  return sum;
}

void check_near(double value, double expected) {
  if (std::isnan(expected))
    CHECK(std::isnan(value));
  else
    CHECK(value == Catch::Approx(expected).margin(1e-9));
}

void check_all(LayerStatistics const& statistics, Routed const& routed, int64_t vocab) {
  check_near(statistics.f1, f1_of(routed.decided, routed.picked));
  check_near(statistics.f1_ceiling, best_by_loop(routed).first);

  std::vector<double> seen(static_cast<size_t>(vocab)), ran(seen), place(static_cast<size_t>(routed.length));
  for (size_t i = 0; i < routed.item.size(); ++i) {
    auto const item = static_cast<size_t>(routed.item[i]);
    seen[item] += 1;
    ran[item] += routed.ran[i];
    place[i % place.size()] += routed.ran[i];
  }
  double common = 0, dead = 0, always = 0;
  for (size_t id = 0; id < seen.size(); ++id) {
    if (seen[id] < 16) continue;
    common += seen[id];
    dead += ran[id] == 0 ? seen[id] : 0;
    always += ran[id] == seen[id] ? seen[id] : 0;
  }
  check_near(statistics.entropy_token, entropy_of(ran) / entropy_of(seen));
  check_near(statistics.entropy_position, entropy_of(place) / std::log(static_cast<double>(routed.length)));
  check_near(statistics.dead, dead / common);
  check_near(statistics.always_on, always / common);
}

}  // namespace

TEST_CASE("statistics are what a loop over the tokens counts", "[routing_statistics]") {
  int64_t const levels = GENERATE(0, 1, 3);
  uint64_t const seed = GENERATE(1, 2, 3);
  INFO(levels << " levels, seed " << seed);
  Routed const first = made_up(seed, 24, 16, 40, levels);
  Routed second = made_up(seed + 10, 24, 16, 40, 2);
  second.item = first.item;
  auto const statistics = statistics_of({first, second}, 43);
  REQUIRE(statistics.size() == 2);
  check_all(statistics[0], first, 43);
  check_all(statistics[1], second, 43);
  CHECK(statistics[0].dead > 0);
  CHECK(statistics[0].always_on > 0);
}

TEST_CASE("items count as dead or always on from sixteen sightings", "[routing_statistics]") {
  // Item 1: 15 times and never; item 2: 16 times and never; item 3: 17 times and always; item 4: 16 times, all but one.
  Routed routed;
  for (auto const& [item, times, runs] : {std::tuple{1, 15, 0}, {2, 16, 0}, {3, 17, 17}, {4, 16, 15}})
    for (int i = 0; i < times; ++i) {
      routed.item.push_back(item);
      routed.score.push_back(i);
      routed.ran.push_back(i < runs);
    }
  routed.length = static_cast<int64_t>(routed.item.size());
  routed.picked = routed.decided = routed.ran;
  LayerStatistics const statistics = statistics_of({routed}, 6)[0];
  CHECK(statistics.dead == Catch::Approx(16.0 / 49));
  CHECK(statistics.always_on == Catch::Approx(17.0 / 49));
  CHECK(statistics.f1 == 1);
}

TEST_CASE("no threshold on the score beats the ceiling, and the best reaches it", "[routing_statistics]") {
  uint64_t const seed = GENERATE(4, 5);
  int64_t const levels = GENERATE(0, 2);
  Routed routed = made_up(seed, 10, 12, 9, levels);
  auto const decide_by = [&](double threshold) {
    for (size_t i = 0; i < routed.score.size(); ++i) routed.decided[i] = routed.score[i] >= threshold;
    return statistics_of({routed}, 9)[0];
  };
  for (double threshold = -2; threshold <= 2; threshold += 0.25) {
    LayerStatistics const statistics = decide_by(threshold);
    CHECK((std::isnan(statistics.f1) || statistics.f1 <= statistics.f1_ceiling + 1e-12));
  }
  LayerStatistics const best = decide_by(best_by_loop(routed).second);
  CHECK(best.f1 == Catch::Approx(best.f1_ceiling).epsilon(1e-12));
  CHECK(best.f1_ceiling < 1);
}

TEST_CASE("tokens that a router did not choose among count in neither ceiling nor histogram", "[routing_statistics]") {
  Routed all = made_up(12, 3, 40, 7, 0), rest = all;
  rest.item.clear(), rest.score.clear(), rest.picked.clear(), rest.decided.clear(), rest.ran.clear();
  for (size_t i = 0; i < all.score.size(); ++i) {
    if (i % 3 == 0) {
      all.score[i] = -INFINITY;
      all.picked[i] = all.decided[i] = all.ran[i] = false;
      continue;
    }
    rest.score.push_back(all.score[i]);
    rest.picked.push_back(all.picked[i]);
  }
  LayerStatistics const statistics = statistics_of({all}, 7)[0];
  CHECK(statistics.f1_ceiling == Catch::Approx(best_by_loop(rest).first));
  CHECK(std::accumulate(statistics.scores.tokens.begin(), statistics.scores.tokens.end(), int64_t{0}) == 80);
  for (double& score : all.score) score = -INFINITY;
  std::fill(all.picked.begin(), all.picked.end(), false);
  LayerStatistics const none = statistics_of({all}, 7)[0];
  CHECK(std::isnan(none.f1_ceiling));
  CHECK(none.scores.empty());
}

TEST_CASE("a threshold cannot split equal scores", "[routing_statistics]") {
  Routed routed{4, {0, 1, 2, 3}, {2, 1, 1, 0}, {true, true, false, false}, {}, {}};
  routed.decided = routed.ran = {true, true, false, false};
  LayerStatistics const statistics = statistics_of({routed}, 4)[0];
  CHECK(statistics.f1 == 1);
  CHECK(statistics.f1_ceiling == Catch::Approx(0.8));  // one too many, not the perfect cut between the equals
}

TEST_CASE("a score histogram counts every token and every pick, in bins of equal width", "[routing_statistics]") {
  Routed routed = made_up(6, 50, 40, 20, 0);
  routed.score[7] = 1e6;  // far outside of the 99.8 %
  routed.score[8] = -1e6;
  ScoreHistogram const histogram = statistics_of({routed}, 20)[0].scores;
  auto const sum = [](std::vector<int64_t> const& counts) { return std::accumulate(counts.begin(), counts.end(), int64_t{0}); };
  REQUIRE_FALSE(histogram.empty());
  REQUIRE(histogram.tokens.size() == histogram.picked.size());
  CHECK(sum(histogram.tokens) == 2000);
  CHECK(sum(histogram.picked) == std::count(routed.picked.begin(), routed.picked.end(), true));
  CHECK(histogram.low < histogram.high);
  CHECK(histogram.low > -10);
  CHECK(histogram.high < 10);
  auto const below = std::count_if(routed.score.begin(), routed.score.end(), [&](double s) { return s < histogram.low; });
  auto const above = std::count_if(routed.score.begin(), routed.score.end(), [&](double s) { return s > histogram.high; });
  CHECK(below <= 2);
  CHECK(above <= 2);

  std::vector<int64_t> tokens(histogram.tokens.size()), picked(tokens);
  double const width = (histogram.high - histogram.low) / static_cast<double>(tokens.size());
  for (size_t i = 0; i < routed.score.size(); ++i) {
    double const bin = std::clamp(std::floor((routed.score[i] - histogram.low) / width), 0.0, static_cast<double>(tokens.size()) - 1);
    tokens[static_cast<size_t>(bin)] += 1;
    picked[static_cast<size_t>(bin)] += routed.picked[i];
  }
  CHECK(tokens == histogram.tokens);
  CHECK(picked == histogram.picked);
}

TEST_CASE("several batches add up like one", "[routing_statistics]") {
  Routed const routed = made_up(7, 12, 10, 15, 3);
  RoutingStatistics parts(15, 10);
  RoutedLayer const whole = layer_of(routed);
  at::Tensor const tokens_BT = tokens_of(routed);
  for (auto const& [first, count] : {std::pair<int64_t, int64_t>{0, 5}, {5, 1}, {6, 6}}) {
    auto const rows = [first = first, count = count](at::Tensor const& x_BT) { return x_BT.narrow(0, first, count); };
    ModelOutput output;
    output.routed_layers.push_back({rows(whole.executed_BT), rows(whole.topk_BT), rows(whole.causal_BT), rows(whole.score_BT)});
    parts.add(output, rows(tokens_BT));
  }
  REQUIRE(parts.layers().size() == 1);
  LayerStatistics const sum = parts.layers()[0], once = statistics_of({routed}, 15)[0];
  check_all(sum, routed, 15);
  CHECK(sum.f1 == once.f1);
  CHECK(sum.f1_ceiling == once.f1_ceiling);
  CHECK(sum.entropy_token == once.entropy_token);
  CHECK(sum.entropy_position == once.entropy_position);
  CHECK(sum.scores.low == once.scores.low);
  CHECK(sum.scores.tokens == once.scores.tokens);
  CHECK(sum.scores.picked == once.scores.picked);
}

TEST_CASE("nothing is said where nothing can be", "[routing_statistics]") {
  CHECK(RoutingStatistics(10, 4).layers().empty());
  RoutingStatistics dense(10, 4);
  dense.add({}, at::zeros({2, 4}, at::kLong));
  CHECK(dense.layers().empty());

  SECTION("nobody is picked, decided or run") {
    Routed routed = made_up(8, 4, 5, 10, 0);
    routed.picked = routed.decided = routed.ran = std::vector<bool>(routed.item.size());
    LayerStatistics const statistics = statistics_of({routed}, 10)[0];
    CHECK(std::isnan(statistics.f1));
    CHECK(std::isnan(statistics.entropy_token));
    CHECK(std::isnan(statistics.entropy_position));
  }
  SECTION("no item is seen often") {
    Routed routed = made_up(9, 3, 5, 10, 0);
    LayerStatistics const statistics = statistics_of({routed}, 10)[0];
    CHECK(std::isnan(statistics.dead));
    CHECK(std::isnan(statistics.always_on));
  }
  SECTION("one item makes up the text") {
    for (int64_t sequences = 1; sequences < 60; ++sequences) {
      Routed routed = made_up(9, sequences, 1, 10, 0);
      std::fill(routed.item.begin(), routed.item.end(), 3);
      CHECK(std::isnan(statistics_of({routed}, 10)[0].entropy_token));
    }
  }
  SECTION("sequences of one token have one place") {
    Routed const routed = made_up(10, 20, 1, 10, 0);
    CHECK(std::isnan(statistics_of({routed}, 10)[0].entropy_position));
  }
  SECTION("constant scores are one run of equals") {
    Routed routed = made_up(11, 4, 5, 10, 0);
    std::fill(routed.score.begin(), routed.score.end(), -1.5);
    LayerStatistics const statistics = statistics_of({routed}, 10)[0];
    check_near(statistics.f1_ceiling, f1_of(std::vector<bool>(20, true), routed.picked));
    CHECK(std::accumulate(statistics.scores.tokens.begin(), statistics.scores.tokens.end(), int64_t{0}) == 20);
  }
  SECTION("scores that are not finite have no histogram") {
    Routed routed = made_up(12, 4, 5, 10, 0);
    double const infinity = std::numeric_limits<double>::infinity();
    for (double const bad : {std::nan(""), infinity}) {  // -infinity: not chosen among
      std::fill(routed.score.begin() + 10, routed.score.end(), bad);
      CHECK(statistics_of({routed}, 10)[0].scores.empty());
    }
  }
}

TEST_CASE("a text is looked at up to a limit", "[routing_statistics]") {
  int64_t const most = RoutingStatistics::most_tokens, length = 1024;
  RoutingStatistics statistics(3, length);
  auto const add = [&](int64_t sequences, bool ran) {
    at::Tensor const mask = at::full({sequences, length}, ran, at::kBool), score = at::rand({sequences, length});
    ModelOutput output;
    output.routed_layers.push_back({mask, mask, mask, score});
    statistics.add(output, at::zeros({sequences, length}, at::kLong));
  };
  add(most / length, true);
  add(8, false);
  LayerStatistics const layer = statistics.layers()[0];
  CHECK(layer.always_on == 1);
  CHECK(std::accumulate(layer.scores.tokens.begin(), layer.scores.tokens.end(), int64_t{0}) == most);
}
