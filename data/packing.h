#pragma once
// Which examples share a window.

#include <cstdint>
#include <vector>

namespace isobath {

// Best-fit decreasing: the longest first, each into the window with the least room that takes it; of equal ones, the earlier first. Returns
// the numbers of the examples of each window. lengths: 1 to `window`.
std::vector<std::vector<int64_t>> pack_examples(std::vector<int64_t> const& lengths, int64_t window);

}  // namespace isobath
