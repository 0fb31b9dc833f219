#pragma once

#include <cstdint>
#include <vector>

namespace isobath {

// Router scores of one routed layer in bins of equal width between `low` and `high`. The 0.1 % of scores outside on either side count in
// the outermost bins. Empty when not measured.
struct ScoreHistogram {
  double low = 0, high = 0;
  std::vector<int64_t> tokens, picked;  // per bin: number of tokens, and how many of them top-k picks
  bool empty() const { return tokens.empty(); }
};

}  // namespace isobath
