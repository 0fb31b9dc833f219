#pragma once
// Text from prompts, one full causal forward per new token.

#include <cstdint>
#include <functional>
#include <vector>

#include "model/language_model.h"

namespace isobath {

struct SampleSettings {
  int64_t max_tokens = 64;
  double temperature = 1.0;  // 0: greedy
  uint64_t seed = 1;
  int32_t stop_token = -1;  // -1: none
};

// Continues `prompt`; prompt + new tokens longer than the context keep only the last `context` tokens in view. on_token (may be empty) sees
// each new id.
std::vector<int32_t> generate(LanguageModel& model, std::vector<int32_t> const& prompt, SampleSettings const& settings,
                              std::function<void(int32_t)> const& on_token = {});

}  // namespace isobath
