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
  // Called on the submitting thread, inside submit() and finish(), once for each document. `group` is what submit() was given.
  using Sink = std::function<void(int group, std::vector<int32_t>&& ids, int64_t bytes)>;

  ParallelEncoder(Tokenizer const& tokenizer, int threads, Sink sink);
  ~ParallelEncoder();                            // drops what was not handed over
  void submit(int group, std::string document);  // waits while too much text is under way
  void finish();                                 // hands over the rest

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isobath
