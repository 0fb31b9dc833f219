#pragma once
// Generates texts from prompts, many at a time; a text that ends makes room for the next.

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "model/decode/decoder.h"
#include "model/sampling/sampler.h"

namespace isobath {

struct GenerateSettings {
  int64_t max_tokens = 64;  // new tokens of each text
  SamplerSettings sampler;
  int32_t stop_token = -1;       // -1: none
  int64_t batch = 16;            // texts at a time
  int64_t most_cache_bytes = 0;  // 0: no limit
  // Whether a text that fills the context goes on with only the later half of its tokens in view. Otherwise it ends there, and a prompt
  // that leaves no room is refused.
  bool window = false;
  int64_t samples = 1;  // continuations of each prompt, which differ unless they are greedy
  // Number of the first text; the others count on from it. What is drawn depends on these numbers, so that prompts may be continued in
  // several calls with the same result.
  TextNumber first;
  // Seeds of prompts' own, by prompt; empty: sampler.seed for all. With its own seed a text does not depend on its number.
  std::vector<std::optional<uint64_t>> seeds;
};

struct NewToken {
  size_t text;  // which: sample s of prompt p is p * samples + s
  Drawn drawn;
  std::vector<int64_t> depths;  // blocks that each token read since the previous new token went through: the prompt, then single tokens
};

struct Generated {
  std::vector<std::vector<int32_t>> texts;  // new tokens of each, without stop_token, all samples of the first prompt first
  int64_t steps = 0;                        // decoding steps of the batch, after the prompts
  double step_seconds = 0;                  // in all steps
  int64_t step_tokens = 0;
  KvCache::Use most;                    // the cache's use when it stored most
  int64_t blocks = 0, read_tokens = 0;  // blocks that all tokens read went through, and the number of these tokens
};

// Continues each prompt `samples` times. on_token is called for each new token and ends the text by returning false; on_end is called with
// the number of each text that ends; either may be empty. With equal seeds the draws do not depend on the batch. Throws Error(data) for a
// prompt without tokens or too long, before anything is read, and Error(allocation) beyond most_cache_bytes.
Generated generate(LanguageModel& model, std::vector<std::vector<int32_t>> const& prompts, GenerateSettings const& settings,
                   std::function<bool(NewToken const&)> const& on_token = {}, std::function<void(size_t)> const& on_end = {});

}  // namespace isobath
