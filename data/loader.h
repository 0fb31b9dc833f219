#pragma once
// Batches of token windows. Their order is a pure function of (seed, epoch, index), so no shuffled order is stored.

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
  int64_t first_sample = 0;       // number of the first sequence in the run: epoch * samples_per_epoch + index
  int64_t target_count = 0;       // targets that are not ignore_target
  int64_t pairs = 0;              // pairs of a query token and a key token that it may attend to (itself or an earlier one)
  bool isolated = false;          // positions restart at every document, and attention must not cross document borders
};

// Cuts the token stream into windows of `length` + 1 tokens (inputs, and the same tokens shifted by one as targets) that start `length`
// tokens apart. A shorter last window is dropped for training; for validation (ordered) it makes a shorter batch of its own.
class Loader {
 public:
  // ordered: samples in stream order (validation); otherwise permuted by (seed, epoch).
  Loader(TokenStream const& stream, int64_t length, uint64_t seed, bool ordered, bool isolate_documents);
  int64_t samples_per_epoch() const;
  // The same arguments give the same batch. A shuffled batch may span two epochs; an ordered one ends with the text and holds windows of
  // one length, so it may have fewer sequences.
  Batch at(int64_t first_sample, int64_t sequences) const;

 private:
  TokenStream const& stream_;
  int64_t length_;
  uint64_t seed_;
  bool ordered_, isolate_;
};

// Reads up to `depth` batches ahead on its own thread. Each next() returns the batch of the next `sequences` samples, from first_sample on.
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
