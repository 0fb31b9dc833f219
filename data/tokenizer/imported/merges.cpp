#include "data/tokenizer/imported/merges.h"

#include <algorithm>
#include <tuple>

namespace isobath {
namespace {

uint64_t pair_key(int32_t left, int32_t right) {
  return static_cast<uint64_t>(static_cast<uint32_t>(left)) << 32 | static_cast<uint32_t>(right);
}

struct Candidate {
  int32_t rank, result;
  size_t position;  // of the left symbol
  uint64_t pair;
  bool operator<(Candidate const& other) const { return std::tie(rank, position) > std::tie(other.rank, other.position); }  // best on top
};

}  // namespace

void Merges::add(int32_t left, int32_t right, int32_t result) { rules_.insert_or_assign(pair_key(left, right), Rule{count_++, result}); }

Merges::Rule const* Merges::find(int32_t left, int32_t right) const {
  auto const found = rules_.find(pair_key(left, right));
  return found == rules_.end() ? nullptr : &found->second;
}

void Merges::apply(std::vector<int32_t>& symbols) const {
  constexpr int32_t merged_away = -1;
  size_t const count = symbols.size();
  thread_local std::vector<size_t> next, previous;
  thread_local std::vector<Candidate> heap;
  next.resize(count);
  previous.resize(count);
  heap.clear();
  for (size_t i = 0; i < count; ++i) next[i] = i + 1, previous[i] = i - 1;  // the first one's is never used
  auto const consider = [&](size_t left) {
    size_t const right = next[left];
    if (right >= count) return false;
    Rule const* const rule = find(symbols[left], symbols[right]);
    if (rule) heap.push_back({rule->rank, rule->result, left, pair_key(symbols[left], symbols[right])});
    return rule != nullptr;
  };
  for (size_t i = 0; i + 1 < count; ++i) consider(i);
  std::make_heap(heap.begin(), heap.end());
  while (!heap.empty()) {
    std::pop_heap(heap.begin(), heap.end());
    Candidate const best = heap.back();
    heap.pop_back();
    size_t const left = best.position, right = next[left];
    if (symbols[left] == merged_away || right >= count || pair_key(symbols[left], symbols[right]) != best.pair)
      continue;  // it has changed since
    symbols[left] = best.result;
    symbols[right] = merged_away;
    next[left] = next[right];
    if (next[left] < count) previous[next[left]] = left;
    if (consider(left)) std::push_heap(heap.begin(), heap.end());
    if (left > 0 && consider(previous[left])) std::push_heap(heap.begin(), heap.end());
  }
  std::erase(symbols, merged_away);
}

}  // namespace isobath
