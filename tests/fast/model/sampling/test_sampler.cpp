#include <algorithm>
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "model/sampling/sampler.h"

using namespace isobath;
using Catch::Approx;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr float inf = std::numeric_limits<float>::infinity();

// Normal logits, rounded to `step` so that there are ties (0: as they are).
std::vector<float> normal_logits(size_t vocab, uint64_t seed, double scale, double step = 0) {
  std::vector<float> logits(vocab);
  for (size_t id = 0; id < vocab; ++id) {
    double const value = scale * random_normal(seed, id);
    logits[id] = static_cast<float>(step > 0 ? step * std::round(value / step) : value);
  }
  return logits;
}

std::vector<double> softmax(std::vector<float> const& logits, double temperature = 1) {
  std::vector<double> p(logits.begin(), logits.end());
  double const largest = *std::max_element(p.begin(), p.end());
  for (double& x : p) x = std::exp(x / temperature - largest / temperature);
  double const total = std::accumulate(p.begin(), p.end(), 0.0);
  for (double& x : p) x /= total;
  return p;
}

// What a sampler draws from, by a full sort: the probability of every id.
std::vector<double> reference(std::vector<float> const& logits, SamplerSettings const& settings) {
  std::vector<double> p = softmax(logits, settings.temperature);
  std::vector<size_t> order(p.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return logits[a] > logits[b]; });
  size_t const k = settings.top_k == 0 ? p.size() : std::min(p.size(), static_cast<size_t>(settings.top_k));
  double total = 0, reached = 0;
  for (size_t i = 0; i < k; ++i) total += p[order[i]];
  size_t kept = 0;
  while (kept < k && (settings.top_p == 1 || reached / total < settings.top_p)) reached += p[order[kept++]];
  for (size_t i = kept; i < p.size(); ++i) p[order[i]] = 0;
  for (double& x : p) x /= reached;
  return p;
}

std::vector<int64_t> counts(std::vector<float> const& logits, SamplerSettings const& settings, uint64_t draws) {
  std::vector<int64_t> hits(logits.size());
  for (uint64_t counter = 0; counter < draws; ++counter) ++hits[static_cast<size_t>(draw_token(logits, settings, counter).id)];
  return hits;
}

// Ids of probability 0 are never drawn, and the chi-square statistic of the others is not far above its degrees of freedom.
void expect_frequencies(std::vector<float> const& logits, SamplerSettings const& settings) {
  int64_t const draws = 20'000;
  std::vector<double> const p = reference(logits, settings);
  std::vector<int64_t> const hits = counts(logits, settings, draws);
  double statistic = 0, rest = 0, rest_hits = 0, cells = 0;
  auto const add = [&](double expected, double seen) {
    statistic += (seen - expected) * (seen - expected) / expected;
    ++cells;
  };
  for (size_t id = 0; id < p.size(); ++id) {
    double const expected = static_cast<double>(draws) * p[id];
    if (expected >= 5) {
      add(expected, static_cast<double>(hits[id]));
    } else {  // rare ones together
      if (p[id] == 0) CHECK(hits[id] == 0);
      rest += expected;
      rest_hits += static_cast<double>(hits[id]);
    }
  }
  if (rest >= 5) add(rest, rest_hits);
  CHECK(statistic < cells + 4 * std::sqrt(2 * cells) + 8);
}

// Ids that some of `draws` draws gave.
std::set<size_t> support(std::vector<float> const& logits, SamplerSettings const& settings, uint64_t draws) {
  std::set<size_t> ids;
  for (uint64_t counter = 0; counter < draws; ++counter) ids.insert(static_cast<size_t>(draw_token(logits, settings, counter).id));
  return ids;
}

SamplerSettings settings_of(double temperature, int64_t top_k = 0, double top_p = 1, uint64_t seed = 1) {
  return {temperature, top_k, top_p, seed};
}

ExitCode code_of(std::vector<float> const& logits, SamplerSettings const& settings) {
  try {
    draw_token(logits, settings, 0);
  } catch (Error const& error) {
    return error.code();
  }
  return ExitCode::ok;
}

}  // namespace

TEST_CASE("sampler: frequencies are the probabilities of a sorted reference") {
  std::vector<float> const logits = normal_logits(60, 3, 2);
  for (SamplerSettings const& settings :
       {settings_of(1), settings_of(0.5), settings_of(2.5), settings_of(1, 7), settings_of(1.5, 0, 0.8), settings_of(0.7, 20, 0.9, 9)}) {
    INFO("temperature " << settings.temperature << ", top_k " << settings.top_k << ", top_p " << settings.top_p);
    expect_frequencies(logits, settings);
  }
}

TEST_CASE("sampler: every draw is the first id whose cumulative probability passes the uniform number") {
  // Ties, top_k from one to more than there is, top_p from the likeliest alone to all: the very id, so cuts agree to the token.
  for (uint64_t seed = 0; seed < 300; ++seed) {
    auto const choice = [&](uint64_t what, uint64_t n) { return permute(0, n, make_key({seed, what})); };
    std::vector<float> logits = normal_logits(1 + choice(0, 200), seed, 2, choice(1, 2) ? 0.5 : 0);
    if (choice(2, 3) == 0) logits[choice(3, logits.size())] = -inf;
    if (*std::max_element(logits.begin(), logits.end()) == -inf) continue;
    double const top_ps[] = {1, 1, 0.999, 0.9, 0.5, 0.1, 1e-9};
    SamplerSettings const settings{0.3 + static_cast<double>(choice(4, 10)) / 4, static_cast<int64_t>(choice(5, 2) * choice(6, 220)),
                                   top_ps[choice(7, 7)], seed};
    INFO("seed " << seed << ": " << logits.size() << " logits, temperature " << settings.temperature << ", top_k " << settings.top_k
                 << ", top_p " << settings.top_p);
    std::vector<double> const p = reference(logits, settings);
    for (uint64_t counter = 0; counter < 200; ++counter) {
      double const uniform = random_uniform(make_key({seed, hash_text("sample"), 0, 0}), counter);
      size_t expected = 0;
      for (double sum = p[0]; sum <= uniform && expected + 1 < p.size(); sum += p[expected]) ++expected;
      REQUIRE(draw_token(logits, settings, counter).id == static_cast<int32_t>(expected));
    }
  }
}

TEST_CASE("sampler: greedy takes the likeliest token, the lowest id of several") {
  CHECK(draw_token(std::vector<float>{1, 3, 2, 3, 3}, settings_of(0), 0).id == 1);
  CHECK(draw_token(std::vector<float>{-inf, -inf, -5}, settings_of(0), 0).id == 2);
  CHECK(draw_token(std::vector<float>{7}, settings_of(0), 0).id == 0);
  std::vector<float> const logits = normal_logits(500, 1, 2);
  auto const best = std::max_element(logits.begin(), logits.end()) - logits.begin();
  for (uint64_t counter = 0; counter < 50; ++counter) {
    CHECK(draw_token(logits, settings_of(0, 0, 1, counter), counter).id == best);
    CHECK(draw_token(logits, settings_of(1e-6), counter).id == best);
    CHECK(draw_token(logits, settings_of(1e-320), counter).id == best);
    CHECK(draw_token(logits, settings_of(1, 1), counter).id == best);
    CHECK(draw_token(logits, settings_of(1, 0, 1e-12), counter).id == best);
  }
  // On the way there the likeliest token comes ever more often.
  int64_t before = 0;
  for (double const temperature : {2.0, 1.0, 0.5, 0.25, 0.1}) {
    int64_t const hits = counts(logits, settings_of(temperature), 2000)[static_cast<size_t>(best)];
    CHECK(hits > before);
    before = hits;
  }
}

TEST_CASE("sampler: of equally likely tokens the cuts keep the lower ids, and top_p stops where it is just reached") {
  std::vector<float> const equal(10, 0.25f);
  CHECK(support(equal, settings_of(1, 3), 500) == std::set<size_t>{0, 1, 2});
  CHECK(support(equal, settings_of(1, 0, 0.3), 500) == std::set<size_t>{0, 1, 2});
  CHECK(support(equal, settings_of(1, 0, 0.30001), 500) == std::set<size_t>{0, 1, 2, 3});
  CHECK(support(equal, settings_of(1, 4, 0.5), 500) == std::set<size_t>{0, 1});  // half of the four, not of the ten
  CHECK(support(equal, settings_of(1, 10), 500).size() == 10);
  CHECK(support(equal, settings_of(1, 11), 500).size() == 10);
  CHECK(support(std::vector<float>(100, 0), settings_of(1, 0, 0.55), 4000).size() == 55);  // 0.55 * 100 is above 55 in binary
  CHECK(support({0, 2, 1, 2, 1, 1}, settings_of(1, 3), 500) == std::set<size_t>{1, 2, 3});
  // The temperature comes first: what is flat needs more tokens to reach top_p.
  std::vector<float> const logits{3, 2, 1, 0};
  CHECK(support(logits, settings_of(0.2, 0, 0.9), 500) == std::set<size_t>{0});
  CHECK(support(logits, settings_of(50, 0, 0.9), 500).size() == 4);
}

TEST_CASE("sampler: a draw depends on logits, settings, seed and counter alone") {
  std::vector<float> const logits = normal_logits(1000, 5, 1);
  SamplerSettings const settings = settings_of(0.9, 200, 0.95, 42);
  std::vector<int32_t> forward, backward, other_seed;
  for (uint64_t counter = 0; counter < 100; ++counter) forward.push_back(draw_token(logits, settings, counter).id);
  for (uint64_t counter = 100; counter-- > 0;) backward.push_back(draw_token(logits, settings, counter).id);
  std::reverse(backward.begin(), backward.end());
  CHECK(forward == backward);
  CHECK(std::set<int32_t>(forward.begin(), forward.end()).size() > 20);
  for (uint64_t counter = 0; counter < 100; ++counter) {
    other_seed.push_back(draw_token(logits, settings_of(0.9, 200, 0.95, 43), counter).id);
  }
  CHECK(forward != other_seed);
}

TEST_CASE("sampler: every prompt and every sample of it has a stream of its own") {
  std::vector<float> const logits = normal_logits(1000, 5, 1);
  std::set<std::vector<int32_t>> texts;
  for (uint64_t prompt = 0; prompt < 6; ++prompt)
    for (uint64_t sample = 0; sample < 6; ++sample) {
      auto const draw = [&] {
        std::vector<int32_t> ids;
        for (uint64_t counter = 0; counter < 20; ++counter) ids.push_back(draw_token(logits, settings_of(1), counter, {prompt, sample}).id);
        return ids;
      };
      CHECK(draw() == draw());
      texts.insert(draw());
    }
  CHECK(texts.size() == 36);
}

TEST_CASE("sampler: the log probability is the model's own, whatever the temperature and cuts") {
  std::vector<float> const logits = normal_logits(300, 8, 3);
  double total = 0;
  for (float const x : logits) total += std::exp(static_cast<double>(x));
  for (SamplerSettings const& settings : {settings_of(0), settings_of(1), settings_of(0.3), settings_of(3, 5), settings_of(1, 0, 0.4)}) {
    for (uint64_t counter = 0; counter < 50; ++counter) {
      Drawn const drawn = draw_token(logits, settings, counter);
      CHECK(drawn.log_probability == Approx(logits[static_cast<size_t>(drawn.id)] - std::log(total)).epsilon(1e-12));
    }
  }
  CHECK(draw_token(std::vector<float>{4}, settings_of(1), 0).log_probability == 0);
}

TEST_CASE("sampler: extreme logits") {
  float const largest = std::numeric_limits<float>::max();
  for (double const temperature : {0.0, 1e-300, 1.0, 1e300}) {
    Drawn const far = draw_token(std::vector<float>{-largest, -inf, largest}, settings_of(temperature), 0);
    CHECK((far.id == 2 || (temperature > 1 && far.id == 0)));
    Drawn const low = draw_token(std::vector<float>{-largest, -largest}, settings_of(temperature), 0);
    CHECK(low.log_probability == Approx(-std::log(2.0)));
  }
  CHECK(support({-inf, 0, -inf, 0, -inf}, settings_of(100), 500) == std::set<size_t>{1, 3});
  CHECK(support({-inf, 0, -inf, 0, -inf}, settings_of(1, 4, 0.99), 500) == std::set<size_t>{1, 3});

  float const nan = std::numeric_limits<float>::quiet_NaN();
  for (double const temperature : {0.0, 1.0}) {
    for (std::vector<float> const& logits : std::vector<std::vector<float>>{{nan, 1}, {1, nan}, {1, inf}, {inf, 1}, {-inf, -inf}, {}}) {
      CHECK(code_of(logits, settings_of(temperature)) == ExitCode::non_finite);
    }
  }
  CHECK_THROWS_WITH(draw_token(std::vector<float>{0, 0, nan, 0}, {}, 0), ContainsSubstring("token 2 of 4") && ContainsSubstring("nan"));
  CHECK_THROWS_WITH(draw_token(std::vector<float>{-inf, -inf}, {}, 0), ContainsSubstring("none of 2"));
}

TEST_CASE("sampler: settings out of range are refused, those at its ends are not") {
  std::vector<float> const logits{1, 2, 3};
  double const nan = std::nan("");
  for (SamplerSettings const& settings : {settings_of(-0.1), settings_of(nan), settings_of(HUGE_VAL), settings_of(1, -1),
                                          settings_of(1, 0, 0), settings_of(1, 0, 1.5), settings_of(1, 0, nan), settings_of(0, 0, 2)}) {
    CHECK(code_of(logits, settings) == ExitCode::config);
  }
  CHECK_THROWS_WITH(draw_token(logits, settings_of(1, 0, 1.5), 0), ContainsSubstring("top_p is 1.5") && ContainsSubstring("at most 1"));
  for (SamplerSettings const& settings :
       {settings_of(0), settings_of(1000), settings_of(1, 1), settings_of(1, 1 << 30), settings_of(1, 0, 1)}) {
    CHECK(code_of(logits, settings) == ExitCode::ok);
  }
}
