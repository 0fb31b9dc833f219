#pragma once
// Decoding speed with the key-value cache, of several models measured interleaved.

#include <functional>
#include <memory>

#include "trainer/bench/train.h"
#include "trainer/parallel/ranks.h"

namespace isobath {

// A model on its device, with calibrated causal decisions, and the text that it reads: at least prompt + steps tokens.
struct DecodeArm {
  std::string name;
  std::shared_ptr<LanguageModel> model;
  std::vector<int32_t> text;
  int64_t bytes_per_value = 4;  // of keys and values
};

struct DecodeBenchSettings {
  int64_t repeats = 15;
  int64_t steps = 16;                   // tokens of each text that are read one by one
  int64_t batch = 1;                    // texts decoded together
  std::vector<int64_t> prompts = {64};  // prompt lengths: that many tokens of each text are read in one pass
  std::vector<BenchSettings::Peer> peers;
  // Called before an arm's turn in a round; round 0 warms up. May be empty: then a live line counts the rounds.
  std::function<void(int round, std::string const& arm)> on_turn;
};

// The result of one arm or peer at one prompt length. Times: one value per repeat; costs: means over the repeats.
struct DecodeBenchResult {
  std::string name;
  int64_t prompt = 0;
  std::vector<double> step_s;     // seconds for one token of every text
  std::vector<double> speedup;    // first arm's step time over this one's
  int64_t peak_memory_bytes = 0;  // of a peer's process, which it says itself; 0: not known
  double load_s = 0;              // ... and how long it took to load its model
  // Not known of a peer:
  std::vector<double> prompt_s;                              // seconds to read one prompt in one pass
  double flops_per_token = 0, prompt_flops = 0;              // by the ledger, for the tokens that ran
  int64_t weight_bytes = 0;                                  // weights that an unrouted step reads: all but an untied input embedding
  double kv_bytes_per_token = 0, kv_reserved_per_token = 0;  // at the end of a text: stored, and reserved by the cache
  double kv_predicted_per_token = 0;                         // stored, by the ledger, at the realised capacity
  double kv_planned_per_token = 0;                           // the same at the configured capacity
  double blocks_per_token = 0;
};

struct DecodeBench {
  std::vector<DecodeBenchResult> results;                     // all arms at the first prompt length, at the second, ...; then the peers
  double read_bytes_per_s = 0;                                // memory speed, read over the first arm's weight_bytes in the same rounds
  int64_t peak_bytes_warm = 0;                                // most memory of the process until the warm-up had ended
  int64_t resident_bytes_first = 0, resident_bytes_last = 0;  // of the process, after the first round and after the last
};

// An arm with random weights and random text. Its causal decisions are calibrated on random text, and its learned factors are hardened.
DecodeArm random_decode_arm(BenchArm const& arm, int64_t vocab_size);

// With several ranks each does its share of the rounds, on its own device, and all get the results of all rounds; what concerns the
// process and its memory is this rank's. Throws Error(config) when a prompt and the steps do not fit in a context, Error(other) when a peer
// fails.
DecodeBench bench_decode(std::vector<DecodeArm> const& arms, DecodeBenchSettings const& settings, Ranks const& ranks = one_process());

}  // namespace isobath
