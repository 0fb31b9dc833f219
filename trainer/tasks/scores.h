#pragma once
// What a model said to the questions of a task, as plain values on the host.

#include <cstdint>
#include <vector>

namespace isobath {

struct OptionScore {
  double log_probability = 0;  // nats, summed over the continuation's tokens
  bool greedy = false;         // each of its tokens is the likeliest in its place
  int64_t tokens = 0;          // of the continuation
  int64_t cut = 0;             // tokens lost at the left, where all together are longer than the context
  std::vector<int64_t> depth;  // blocks that each token before the scored ones went through: of the tokens read for this option alone
};

struct ItemScore {
  std::vector<OptionScore> options;
  std::vector<int64_t> prompt_depth;  // of the tokens of a prompt that all options share, which is read once
};

// What scoring took, over all items.
struct ScoringCost {
  int64_t tokens = 0;           // that were read
  int64_t tokens_not_read = 0;  // of prompts that further options share: read once, not once an option
  int64_t blocks = 0;           // that the read tokens went through
  int64_t kv_bytes = 0;         // of keys and values stored for them; 0 under top-k routing, which has no cache
  double seconds = 0;
};

struct TaskScores {
  std::vector<ItemScore> items;
  ScoringCost cost;
};

}  // namespace isobath
