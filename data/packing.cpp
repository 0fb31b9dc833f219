#include "data/packing.h"

#include <algorithm>
#include <map>
#include <numeric>

namespace isobath {

std::vector<std::vector<int64_t>> pack_examples(std::vector<int64_t> const& lengths, int64_t window) {
  auto const length_of = [&](int64_t example) { return lengths[static_cast<size_t>(example)]; };
  std::vector<int64_t> order(lengths.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return length_of(a) > length_of(b); });
  std::vector<std::vector<int64_t>> windows;
  std::map<int64_t, std::vector<size_t>> by_room;  // of windows that are not full
  for (int64_t const example : order) {
    auto const found = by_room.lower_bound(length_of(example));
    size_t chosen = windows.size();
    int64_t room = window;
    if (found == by_room.end()) {
      windows.emplace_back();
    } else {
      room = found->first;
      chosen = found->second.back();
      found->second.pop_back();
      if (found->second.empty()) by_room.erase(found);
    }
    windows[chosen].push_back(example);
    if (room > length_of(example)) by_room[room - length_of(example)].push_back(chosen);
  }
  return windows;
}

}  // namespace isobath
