#pragma once
// Encodes documents on several threads; ids come back in the order the documents went in.

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "data/tokenizer/tokenizer.h"

namespace isobath {

class ParallelEncoder {
 public:
  // Called once for each document, on the submitting thread, inside submit() and finish(). `group` is the number that submit() was given.
  using Sink = std::function<void(int group, std::vector<int32_t>&& ids, int64_t bytes)>;

  ParallelEncoder(Tokenizer const& tokenizer, int threads, Sink sink);
  ~ParallelEncoder();                            // drops the documents that the sink has not received
  void submit(int group, std::string document);  // waits while too much text is queued or being encoded
  void finish();                                 // waits for the remaining documents and passes them to the sink

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isobath
