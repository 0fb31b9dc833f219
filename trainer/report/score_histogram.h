#pragma once

#include <cstdint>
#include <vector>

namespace isobath {

// Router scores of one routed layer in bins of equal width between `low` and `high`, the outermost 0.1 % on either side counted in the last
// bin; empty when not measured.
struct ScoreHistogram {
  double low = 0, high = 0;
  std::vector<int64_t> tokens, picked;  // a bin's tokens, and how many of them top-k picks
  bool empty() const { return tokens.empty(); }
};

}  // namespace isobath
