#pragma once
// One token from the logits of a language model. No LibTorch.

#include <cstdint>
#include <span>

namespace isobath {

struct SamplerSettings {
  double temperature = 1.0;  // 0: greedy, the likeliest token (the lowest id if several are)
  int64_t top_k = 0;         // the k likeliest tokens, the lower of equally likely ids first; 0: all
  double top_p = 1.0;        // nucleus (Holtzman et al. 2020): of those, the fewest likeliest tokens that together reach this probability
  uint64_t seed = 1;
};

struct Drawn {
  int32_t id;
  double log_probability;  // nats, under softmax(logits): before temperature, top_k and top_p
};

// The text that a token is drawn for; each text has random numbers of its own.
struct TextNumber {
  uint64_t prompt = 0;
  uint64_t sample = 0;  // of several continuations of that prompt
};

// Draws from softmax(logits_V / temperature) cut by top_k and top_p: a pure function of its arguments, linear in V. The random number
// depends on the seed, the text and `counter`, the number of new tokens that the text already has. Throws Error(non_finite) for a logit
// that is NaN or +inf and when none is finite (-inf is probability 0), Error(config) for settings out of range.
Drawn draw_token(std::span<float const> logits_V, SamplerSettings const& settings, uint64_t counter, TextNumber const& text = {});

}  // namespace isobath
