#pragma once
// Times training steps of several models interleaved (A B C, A B C, ...), so that all are measured in the same state of the machine.

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

// The arms of the experiment, matched as `compare` matches them; the baseline first. Without compare.arms: the configuration itself, behind
// its dense twin (the same with `depth: {kind: dense}`) unless it is dense.
std::vector<BenchArm> bench_arms(LoadedConfig const& loaded, int64_t vocab_size);

struct BenchResult {
  std::string name;
  std::vector<double> step_s;   // one per repeat
  std::vector<double> speedup;  // baseline's step time over this arm's, one per repeat
  int64_t tokens_per_step = 0;
  int64_t peak_memory_bytes = 0;  // of this arm alone; 0: not known
  // 0 for a peer, which the ledger cannot count:
  int64_t params = 0;
  int64_t train_flops_per_step = 0;  // realised, by the ledger
  int64_t flops_6n_per_step = 0;     // 6 N + 12 L D T a token (N parameters, L layers, width D, context T), as if nothing were routed
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
    std::string command;  // shell command of a process that answers "run N" with {"seconds_per_step": ...}
  };
  int64_t repeats = 15;
  int64_t steps_per_repeat = 1;
  int64_t vocab_size = 512;
  std::vector<Peer> peers;
  bool profile = false;  // also profile one step of every arm with LibTorch's profiler
};

// Times training steps on random tokens, after warm-up steps, all on one device. The first arm is the baseline of every speedup; results of
// peers come last. Throws Error(other) when a peer fails.
Bench bench_training(std::vector<BenchArm> const& arms, BenchSettings const& settings);

}  // namespace isobath
