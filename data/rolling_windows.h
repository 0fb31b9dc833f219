#pragma once
// Windows that score every token of every document exactly once, as lm-evaluation-harness cuts a text for its rolling log-likelihood.

#include <cstdint>
#include <optional>
#include <vector>

#include "data/loader.h"
#include "data/shards/shards.h"

namespace isobath {

// For a document t0 t1 ... t8 and a length of 4, with S the token `start` (| separates windows):
//     reads      S  t0 t1 t2   |   t3 t4 t5 t6   |   t4 t5 t6 t7
//     predicts   t0 t1 t2 t3   |   t4 t5 t6 t7   |    -  -  - t8
// The last window of a document reads earlier tokens again, so that it has the length of the others; what those predict is not scored a
// second time. Only a document of fewer tokens than a window has a shorter one. Document ends are neither read nor predicted.
class RollingWindows : public Windows {
 public:
  // stream: documents, each followed by its document-end token; it must outlive this. start: the token that is read before a document.
  RollingWindows(TokenStream const& stream, int32_t start, int64_t length);
  int64_t count() const override { return static_cast<int64_t>(windows_.size()); }
  Batch at(int64_t first, int64_t most) const override;
  std::optional<int64_t> text_bytes() const override { return stream_.text_bytes(); }

 private:
  struct Window {
    WindowPlace place;
    int64_t document_begin = 0;  // in the stream
    int64_t end = 0;             // behind the last target, counted in the document
    int64_t length = 0;
  };
  void append(Window const& window, Batch& batch) const;

  TokenStream const& stream_;
  int32_t start_;
  std::vector<Window> windows_;
};

}  // namespace isobath
