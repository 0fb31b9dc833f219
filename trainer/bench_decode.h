#pragma once
// Tokens a second out of the cache, several models interleaved.

#include "trainer/bench.h"

namespace isobath {

struct DecodeBenchSettings {
  int repeats = 15;
  int steps = 16;       // tokens of each text in a repeat
  int64_t batch = 1;    // texts at a time
  int64_t prompt = 64;  // tokens that each text begins with
  int64_t vocab_size = 512;
};

struct DecodeBenchResult {
  std::string name;
  std::vector<double> step_s;        // one token of every text; one per repeat
  std::vector<double> speedup;       // of the first arm's time over this one's, one per repeat
  int64_t weight_bytes = 0;          // that a step of a model without routing reads: all but the embedding's, unless tied
  double kv_bytes_per_token = 0;     // stored
  double kv_reserved_per_token = 0;  // with what is empty in its blocks
  double planned_kv_bytes_per_token = 0;
  double blocks_per_token = 0;
};

struct DecodeBench {
  std::vector<DecodeBenchResult> results;
  double read_bytes_per_s = 0;  // of the first arm's weight_bytes, measured in the same rounds
};

// Random weights and tokens; decisions are calibrated on random text, factors hardened.
DecodeBench bench_decode(std::vector<BenchArm> const& arms, DecodeBenchSettings const& settings);

}  // namespace isobath
