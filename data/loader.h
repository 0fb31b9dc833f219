#pragma once
// Batches in an order that is a pure function of (seed, epoch, index): nothing is shuffled in memory or stored.

#include <cstdint>
#include <memory>
#include <vector>

#include "data/shards/shards.h"

namespace isobath {

constexpr int64_t ignore_target = -100;

// Host buffers, row-major [sequences, length].
struct Batch {
  int64_t sequences = 0, length = 0;
  std::vector<int64_t> tokens, targets, positions;
  std::vector<int32_t> segments;  // document number inside the sequence, from 0
  int64_t first_sample = 0;       // of the run: epoch * samples_per_epoch + index
  int64_t target_count = 0;       // targets that are not ignore_target
  int64_t pairs = 0;              // of a token and a token that it may look at: itself and those before it in its sequence or document
  bool isolated = false;          // positions restart and attention must stop at segment borders
};

// Windows of `length` + 1 tokens over the concatenated token stream, `length` apart; the last, short window of the stream is dropped
// for training and padded with ignore_target for validation (ordered).
class Loader {
 public:
  // ordered: samples in stream order (validation); otherwise permuted by (seed, epoch).
  Loader(TokenStream const& stream, int64_t length, uint64_t seed, bool ordered, bool isolate_documents);
  int64_t samples_per_epoch() const;
  Batch at(int64_t first_sample, int64_t sequences) const;  // pure; spans epochs when shuffled

 private:
  TokenStream const& stream_;
  int64_t length_;
  uint64_t seed_;
  bool ordered_, isolate_;
};

// Reads ahead on its own thread. next() returns what Loader::at(position, sequences) would, and moves on.
class Prefetcher {
 public:
  Prefetcher(Loader const& loader, int64_t first_sample, int64_t sequences, int depth = 4);
  ~Prefetcher();
  Batch next();                 // rethrows what the reader thread threw
  double wait_seconds() const;  // total time next() had to wait

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isobath
