#pragma once
// Windows of whole examples: what a fine-tuning run reads.

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "data/loader.h"
#include "data/shards/shards.h"

namespace isobath {

// The documents of a stream that says which tokens are to be predicted, several in a window of `length` and none of them cut; only one that
// is longer than a window loses its left end. Each is read without its last token, with positions from 0, and sees itself alone. What is
// left of a window is padding: document ends that predict nothing, a segment of its own. Which examples share a window is fixed; their
// order in the stream, prepare's, decides it.
class PackedExamples : public Windows {
 public:
  // ordered: for validation, in an order of its own, so that the first windows are a sample of all; otherwise permuted by (seed, epoch).
  PackedExamples(TokenStream const& stream, int64_t length, uint64_t seed, bool ordered);
  int64_t count() const override { return static_cast<int64_t>(begins_.size()) - 1; }
  Batch at(int64_t first_sample, int64_t sequences) const override;
  std::string describe() const override;

 private:
  struct Example {
    int64_t begin = 0, length = 0;  // in the stream; without its last token
  };
  void append(int64_t window, Batch& batch) const;
  void append(Example const& example, int32_t segment, Batch& batch) const;
  void append_padding(int64_t length, int32_t segment, Batch& batch) const;

  TokenStream const& stream_;
  int64_t length_;
  uint64_t seed_;
  bool ordered_;
  std::vector<Example> examples_;  // of all windows, one after another
  std::vector<int64_t> begins_;    // of the windows in examples_, and the end of the last
  int64_t tokens_ = 0, longer_ = 0, tokens_lost_ = 0;
};

// Tokens that are read of each document of a stream: all but its last one.
std::vector<int64_t> example_lengths(TokenStream const& stream);

// The windows that fit a stream: PackedExamples where it says which tokens are to be predicted, else Loader. Both cut a text in the same
// order for the same arguments.
std::unique_ptr<Windows> training_windows(TokenStream const& stream, int64_t length, uint64_t seed, bool isolate_documents);
std::unique_ptr<Windows> ordered_windows(TokenStream const& stream, int64_t length, bool isolate_documents);

}  // namespace isobath
