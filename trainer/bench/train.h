#pragma once
// Training steps of several models, measured interleaved: A B C, A B C, ... so that all meet the same state of the machine.

#include <optional>
#include <string>
#include <vector>

#include "config/io.h"
#include "trainer/bench/profile.h"
#include "trainer/run/machine.h"

namespace isobath {

struct BenchArm {
  std::string name;
  Config config;
};

// The arms of the experiment, matched as `compare` matches them; the baseline first.
std::vector<BenchArm> bench_arms(LoadedConfig const& loaded, int64_t vocab_size);

struct BenchResult {
  std::string name;
  std::vector<double> step_s;   // one per repeat
  std::vector<double> speedup;  // of the baseline's time over this arm's, one per repeat
  int64_t tokens_per_step = 0;
  int64_t peak_memory_bytes = 0;  // of this arm alone; 0: not known
  // 0: a peer, which the ledger does not know.
  int64_t params = 0;
  int64_t train_flops_per_step = 0;  // realised, by the ledger
  int64_t flops_6n_per_step = 0;     // by 6 N + 12 L D T a token, as if nothing were routed
  std::optional<Profile> profile;
};

struct Bench {
  std::vector<BenchResult> results;
  at::Device device = at::kCPU;
  PeakFlops peak;
};

struct BenchSettings {
  struct Peer {
    std::string name;
    std::string command;  // of a shell: a child that answers "run N" with {"seconds_per_step": ...}
  };
  int repeats = 15;
  int steps_per_repeat = 1;
  int64_t vocab_size = 512;
  std::vector<Peer> peers;
  bool profile = false;  // one more step of every arm, by LibTorch's profiler
};

// The first arm is the baseline of every speedup; all on one device. Random tokens; warm-up steps first; peers come last. Throws
// Error(other) when a peer fails.
Bench bench_training(std::vector<BenchArm> const& arms, BenchSettings const& settings);

}  // namespace isobath
