#pragma once
// Batches of token windows. Their order is a pure function of (seed, epoch, index), so no shuffled order is stored.

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "data/shards/shards.h"

namespace isobath {

constexpr int64_t ignore_target = -100;

// Where a window stands that is cut out of one document (rolling_windows.h).
struct WindowPlace {
  int64_t document = 0;  // its number in the text
  int64_t context = 0;   // tokens at its start that an earlier window has read, too; what they predict is scored there
};

// Host buffers, row-major [sequences, length].
struct Batch {
  int64_t sequences = 0, length = 0;
  std::vector<int64_t> tokens, targets, positions;
  std::vector<int32_t> segments;    // document number inside the sequence, from 0
  int64_t first_sample = 0;         // number of the first sequence in the run: epoch * samples_per_epoch + index
  int64_t target_count = 0;         // targets that are not ignore_target
  int64_t pairs = 0;                // pairs of a query token and a key token that it may attend to (itself or an earlier one)
  bool isolated = false;            // positions restart at every document, and attention must not cross document borders
  std::vector<WindowPlace> places;  // of each sequence; empty where windows go over document borders
  std::vector<int64_t> windows;     // of each sequence: its window's number, which neither seed nor epoch changes; empty beside `places`
};

// The windows of a text: in order, which an evaluation reads, or permuted by (seed, epoch).
class Windows {
 public:
  virtual ~Windows() = default;
  virtual int64_t count() const = 0;
  // In order: windows of one length from `first` on, `most`, or fewer where the length changes or the text ends. Permuted: `most`
  // windows, on into the next epochs. The same arguments give the same batch.
  virtual Batch at(int64_t first, int64_t most) const = 0;
  // Of the text that the targets of all windows make up; nullopt: as many as the bytes of their pieces.
  virtual std::optional<int64_t> text_bytes() const { return std::nullopt; }
  // What a log says of them; empty: nothing.
  virtual std::string describe() const { return {}; }
};

// Cuts the token stream into windows of `length` + 1 tokens (inputs, and the same tokens shifted by one as targets) that start `length`
// tokens apart. A shorter last window is dropped for training; for validation (ordered) it makes a shorter batch of its own.
class Loader : public Windows {
 public:
  // ordered: samples in stream order (validation); otherwise permuted by (seed, epoch).
  Loader(TokenStream const& stream, int64_t length, uint64_t seed, bool ordered, bool isolate_documents);
  int64_t samples_per_epoch() const;
  int64_t count() const override { return samples_per_epoch(); }
  Batch at(int64_t first_sample, int64_t sequences) const override;

 private:
  TokenStream const& stream_;
  int64_t length_;
  uint64_t seed_;
  bool ordered_, isolate_;
};

// Reads up to `depth` batches ahead on its own thread. Each next() returns the batch of the next `sequences` samples, from first_sample on.
class Prefetcher {
 public:
  Prefetcher(Windows const& windows, int64_t first_sample, int64_t sequences, int depth = 4);
  ~Prefetcher();
  Batch next();                 // rethrows what the reader thread threw
  double wait_seconds() const;  // total time next() had to wait

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isobath
