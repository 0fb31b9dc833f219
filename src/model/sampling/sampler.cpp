#include "model/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/random.h"

namespace isobath {

namespace {

constexpr float infinite_logit = std::numeric_limits<float>::infinity();

void check_sampler(SamplerSettings const& settings) {
  auto const refuse = [](std::string const& name, std::string const& value, std::string const& allowed) {
    throw Error(ExitCode::config, name + " is " + value + ": " + allowed);
  };
  if (!(settings.temperature >= 0 && std::isfinite(settings.temperature))) {
    refuse("temperature", std::to_string(settings.temperature), "0 (greedy) or a positive number");
  }
  if (settings.top_k < 0) refuse("top_k", std::to_string(settings.top_k), "0 (off) or a positive number of tokens");
  if (!(settings.top_p > 0 && settings.top_p <= 1)) {
    refuse("top_p", std::to_string(settings.top_p), "a probability above 0, at most 1 (off)");
  }
}

// The lowest id of the largest logit.
size_t likeliest(std::span<float const> logits_V) {
  size_t best = 0;
  for (size_t id = 0; id < logits_V.size(); ++id) {
    if (!(logits_V[id] < infinite_logit)) {
      throw Error(ExitCode::non_finite, "the logit of token " + std::to_string(id) + " of " + std::to_string(logits_V.size()) + " is " +
                                            std::to_string(logits_V[id]) + ": no token can be drawn from what the model computed");
    }
    if (logits_V[id] > logits_V[best]) best = id;
  }
  if (logits_V.empty() || logits_V[best] == -infinite_logit) {
    throw Error(ExitCode::non_finite,
                "none of " + std::to_string(logits_V.size()) + " logits is finite: no token can be drawn from what the model computed");
  }
  return best;
}

// Zeroes the weights of the tokens that top_k and top_p leave out. Tokens are ordered by falling logit, then by id, so that the last token
// kept determines all others; nth_element finds it without sorting.
void cut_weights(std::span<float const> logits_V, SamplerSettings const& settings, std::vector<double>& weights_V) {
  bool const cut_k = settings.top_k > 0 && settings.top_k < static_cast<int64_t>(logits_V.size()), cut_p = settings.top_p < 1;
  if (!cut_k && !cut_p) return;
  auto const likelier = [&](int32_t a, int32_t b) {
    float const x = logits_V[static_cast<size_t>(a)], y = logits_V[static_cast<size_t>(b)];
    return x > y || (x == y && a < b);
  };
  auto const sum = [&](auto begin, auto end) {
    return std::accumulate(begin, end, 0.0, [&](double total, int32_t id) { return total + weights_V[static_cast<size_t>(id)]; });
  };
  std::vector<int32_t> ids(logits_V.size());
  std::iota(ids.begin(), ids.end(), 0);
  auto begin = ids.begin(), end = ids.end();
  if (cut_k) {
    std::nth_element(begin, begin + settings.top_k - 1, end, likelier);
    end = begin + settings.top_k;
  }
  if (cut_p) {
    double const total = sum(begin, end);
    double before = 0;         // weight of all tokens likelier than those in [begin, end)
    while (end - begin > 1) {  // the last token kept is in [begin, end)
      auto const middle = begin + (end - begin) / 2;
      std::nth_element(begin, middle, end, likelier);
      double const reached = before + sum(begin, middle);
      if (reached / total >= settings.top_p) {
        end = middle;
      } else {
        begin = middle;
        before = reached;
      }
    }
  }
  int32_t const last = *(end - 1);
  for (size_t id = 0; id < weights_V.size(); ++id) {
    if (likelier(last, static_cast<int32_t>(id))) weights_V[id] = 0;
  }
}

}  // namespace

Drawn draw_token(std::span<float const> logits_V, SamplerSettings const& settings, uint64_t counter, TextNumber const& text) {
  check_sampler(settings);
  size_t const best = likeliest(logits_V);
  double const largest = logits_V[best];
  double normalizer = 0;
  for (float const logit : logits_V) normalizer += std::exp(logit - largest);
  auto const drawn = [&](size_t id) { return Drawn{static_cast<int32_t>(id), logits_V[id] - largest - std::log(normalizer)}; };
  if (settings.temperature == 0) return drawn(best);

  std::vector<double> weights_V(logits_V.size());
  for (size_t id = 0; id < weights_V.size(); ++id) weights_V[id] = std::exp((logits_V[id] - largest) / settings.temperature);
  cut_weights(logits_V, settings, weights_V);
  // The first id whose cumulative weight passes a uniform share of the total; its own weight is positive.
  double const total = std::accumulate(weights_V.begin(), weights_V.end(), 0.0);
  uint64_t const stream = make_key({settings.seed, hash_text("sample"), text.prompt, text.sample});
  double const target = random_uniform(stream, counter) * total;
  size_t id = 0;
  for (double cumulative = weights_V[0]; cumulative <= target; cumulative += weights_V[id]) ++id;
  return drawn(id);
}

}  // namespace isobath
