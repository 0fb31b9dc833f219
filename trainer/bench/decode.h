#pragma once
// Tokens a second out of the cache, several models interleaved.

#include <memory>

#include "trainer/bench/train.h"

namespace isobath {

// A model whose decisions are calibrated, on its device, and what it reads: at least prompt + steps tokens.
struct DecodeArm {
  std::string name;
  std::shared_ptr<LanguageModel> model;
  std::vector<int32_t> text;
  int64_t bytes_per_value = 4;  // of keys and values
};

struct DecodeBenchSettings {
  int repeats = 15;
  int steps = 16;                       // tokens of each text, one by one
  int64_t batch = 1;                    // texts at a time
  std::vector<int64_t> prompts = {64};  // tokens that each text begins with, read at once
  std::vector<BenchSettings::Peer> peers;
};

// Of one arm, or peer, at one length of prompt; times one a repeat, costs means.
struct DecodeBenchResult {
  std::string name;
  int64_t prompt = 0;
  std::vector<double> step_s;   // one token of every text
  std::vector<double> speedup;  // of the first arm's time over this one's
  // Not known of a peer:
  std::vector<double> prompt_s;                              // a prompt, read at once
  double flops_per_token = 0, prompt_flops = 0;              // by the ledger, as routed
  int64_t weight_bytes = 0;                                  // that a step without routing reads: all but the embedding's, unless tied
  double kv_bytes_per_token = 0, kv_reserved_per_token = 0;  // stored, and with what is empty in its blocks, at the end of a text
  double kv_predicted_per_token = 0;                         // stored, by the ledger, at the realised capacity
  double kv_planned_per_token = 0;                           // and at the capacity that was asked for
  double blocks_per_token = 0;
};

struct DecodeBench {
  std::vector<DecodeBenchResult> results;                     // arms of the first prompt, of the second, ...; peers
  double read_bytes_per_s = 0;                                // of the first arm's weight_bytes, measured in the same rounds
  int64_t resident_bytes_first = 0, resident_bytes_last = 0;  // of the process, behind the first round and behind the last
};

// Random weights, read random text; decisions are calibrated on such, factors hardened.
DecodeArm random_decode_arm(BenchArm const& arm, int64_t vocab_size);

// Throws Error(config) when a prompt and the steps do not fit in a context, Error(other) when a peer fails.
DecodeBench bench_decode(std::vector<DecodeArm> const& arms, DecodeBenchSettings const& settings);

}  // namespace isobath
