#pragma once
// Where a run stands: everything besides tensors that a resumed run needs to go on as if it had never stopped.

#include <cstdint>
#include <limits>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/int128.h"

namespace isobath {

// What bit-exact resume depends on besides the program and its input.
struct Machine {
  std::string version;  // of isobath
  std::string libtorch;
  std::string cpu_capability;  // the vector instructions LibTorch's kernels use
  std::string gemm;            // the library that multiplies matrices
  int64_t threads = 0;         // of each rank
  int64_t ranks = 1;
  std::string device = "cpu";  // with its index and the GPU's name
  bool operator==(Machine const&) const = default;
};

// A part of training under one schedule. A resume that changes the schedule starts a new segment.
struct Segment {
  int64_t from_step = 0;
  int64_t total_steps = 0;
  std::vector<std::string> changes;  // "train.lr: 0.003 -> 0.001"
};

// Weights of others that went into a run.
struct Origin {
  double pretraining_flops = 0;  // FLOPs that the initial weights and the teacher were trained with; NaN: not known
  std::string teacher;           // identifies the teacher's weights; empty: none
};

struct TrainState {
  int64_t step = 0;          // optimizer steps done
  int64_t tokens = 0;        // token positions trained on
  Int128 train_flops;        // realised, by the ledger
  int64_t next_sample = 0;   // next sample in the data order
  int64_t window_steps = 0;  // steps since the last train record (the sums over them are tensors in optimizer.safetensors)
  Int128 window_flops;       // planned FLOPs of these steps, included in train_flops
  Int128 window_pairs;       // sum of Batch::pairs over these steps
  double window_seconds = 0;
  double train_seconds = 0;  // training alone: no evaluation, no checkpoints
  double data_wait_seconds = 0;
  double best_value = std::numeric_limits<double>::infinity();  // by checkpoint.best, the lower the better: the loss, or 1 - accuracy
  int64_t best_step = -1;
  int64_t validations_without_better = 0;  // since then, in a row
  int64_t validated_step = -1;             // last step whose due validation was done
  int64_t checkpointed_step = -1;          // last step whose due checkpoint was written
  bool finished = false;
  bool ended_by_patience = false;
  int64_t seed = 0;  // all randomness is keyed by it and by counters above: there is no generator state
  int64_t micro_batch_tokens = 0;
  std::string data_key;  // of the prepared text: the key of its folder in the cache
  std::string tokenizer_fingerprint;
  Machine machine;
  std::vector<Segment> segments;
  Origin origin;
};

nlohmann::ordered_json to_json(TrainState const& state);
// Throws Error(checkpoint) naming `where` when a key is missing or has the wrong type.
TrainState state_from_json(std::string const& text, std::string const& where);

}  // namespace isobath
