#pragma once
// Text from prompts: many at a time, each to its own end.

#include <cstdint>
#include <functional>
#include <vector>

#include "model/decode/decoder.h"
#include "model/sampling/sampler.h"

namespace isobath {

struct GenerateSettings {
  int64_t max_tokens = 64;  // new ones of each text
  SamplerSettings sampler;
  int32_t stop_token = -1;       // -1: none
  int64_t batch = 16;            // texts at a time
  int64_t most_cache_bytes = 0;  // 0: no limit
  // A text that fills the context goes on with the later half of it alone in view; else it ends there, and a prompt that leaves no room is
  // refused.
  bool window = false;
  int64_t samples = 1;  // continuations of each prompt, which differ unless they are greedy
  // Of the first text. The others count on from it: what is drawn depends on these numbers, so that prompts may be continued in several
  // calls.
  TextNumber first;
};

struct NewToken {
  size_t text;  // which: sample s of prompt p is p * samples + s
  Drawn drawn;
  std::vector<int64_t> depths;  // blocks that each token read since the last new one went through: the prompt's, then one at a time
};

struct Generated {
  std::vector<std::vector<int32_t>> texts;  // new tokens of each, without stop_token, all samples of the first prompt first
  int64_t steps = 0;                        // of the batch, behind the prompts
  double step_seconds = 0;                  // in all of them
  int64_t step_tokens = 0;
  KvCache::Use most;                    // where most was stored
  int64_t blocks = 0, read_tokens = 0;  // all tokens' blocks, and their number
};

// Continues each prompt, `samples` times. on_token sees new tokens as they come, false ends that text; on_end sees which text has ended;
// either may be empty. Equal seeds draw alike whatever the batch. Throws Error(data) for a prompt without tokens or too long, before
// anything is read, Error(allocation) beyond most_cache_bytes.
Generated generate(LanguageModel& model, std::vector<std::vector<int32_t>> const& prompts, GenerateSettings const& settings,
                   std::function<bool(NewToken const&)> const& on_token = {}, std::function<void(size_t)> const& on_end = {});

}  // namespace isobath
