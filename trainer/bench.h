#pragma once
// Training steps of several models, measured interleaved: A B C, A B C, ... so that all meet the same state of the machine.

#include <memory>
#include <string>
#include <vector>

#include "core/config.h"

namespace isobath {

struct BenchArm {
  std::string name;
  Config config;
};

struct BenchResult {
  std::string name;
  std::vector<double> step_s;        // one per repeat
  int64_t train_flops_per_step = 0;  // 0: not by this ledger (a peer)
  std::vector<double> speedup;       // of the baseline's time over this arm's, one per repeat
};

struct BenchSettings {
  int repeats = 15;
  int steps_per_repeat = 1;
  int64_t vocab_size = 512;
  std::string peer;  // shell command of a child that answers "run N" with {"seconds_per_step": ...}; empty: none
};

// The first arm is the baseline of every speedup. Random tokens; one warm-up step each; a peer comes last. Throws Error(other) when the
// peer fails.
std::vector<BenchResult> bench_training(std::vector<BenchArm> const& arms, BenchSettings const& settings);

}  // namespace isobath
