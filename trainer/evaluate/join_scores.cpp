#include "trainer/evaluate/join_scores.h"

#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>
#include <vector>

namespace isobath {
namespace {

// Scores as flat numbers, in the order in which they are read again.
struct Numbers {
  std::vector<int64_t> whole;
  std::vector<double> real;
  size_t next_whole = 0, next_real = 0;

  void put(std::vector<int64_t> const& list) {
    whole.push_back(std::ssize(list));
    whole.insert(whole.end(), list.begin(), list.end());
  }
  int64_t take() { return whole.at(next_whole++); }
  std::vector<int64_t> take_list() {
    auto const count = static_cast<size_t>(take());
    auto const first = whole.begin() + static_cast<std::ptrdiff_t>(next_whole);
    next_whole += count;
    return {first, first + static_cast<std::ptrdiff_t>(count)};
  }
};

void put(ItemScore const& item, Numbers& numbers) {
  numbers.put(item.prompt_depth);
  numbers.whole.push_back(std::ssize(item.options));
  for (OptionScore const& option : item.options) {
    numbers.real.push_back(option.log_probability);
    numbers.whole.insert(numbers.whole.end(), {option.greedy, option.tokens, option.cut});
    numbers.put(option.depth);
  }
}

ItemScore take(Numbers& numbers) {
  ItemScore item;
  item.prompt_depth = numbers.take_list();
  item.options.resize(static_cast<size_t>(numbers.take()));
  for (OptionScore& option : item.options) {
    option.log_probability = numbers.real.at(numbers.next_real++);
    option.greedy = numbers.take() != 0;
    option.tokens = numbers.take();
    option.cut = numbers.take();
    option.depth = numbers.take_list();
  }
  return item;
}

template <typename Number>
std::vector<Number> joined(std::vector<Number> const& own, AcrossRanks const& ranks) {
  at::Tensor const all = ranks.joined(at::tensor(own));
  return {all.const_data_ptr<Number>(), all.const_data_ptr<Number>() + all.numel()};
}

}  // namespace

TaskScores join_scores(TaskScores const& own, int64_t items, AcrossRanks const& ranks) {
  Numbers numbers;
  for (ItemScore const& item : own.items) put(item, numbers);
  numbers.whole = joined(numbers.whole, ranks);
  numbers.real = joined(numbers.real, ranks);
  TaskScores all;
  all.items.resize(static_cast<size_t>(items));
  for (int64_t rank = 0; rank < ranks.size; ++rank)
    for (int64_t item = rank; item < items; item += ranks.size) all.items[static_cast<size_t>(item)] = take(numbers);

  ScoringCost const& cost = own.cost;
  std::vector<int64_t> const counts = joined(std::vector<int64_t>{cost.tokens, cost.tokens_not_read, cost.blocks, cost.kv_bytes}, ranks);
  for (size_t first = 0; first < counts.size(); first += 4) {
    all.cost.tokens += counts[first];
    all.cost.tokens_not_read += counts[first + 1];
    all.cost.blocks += counts[first + 2];
    all.cost.kv_bytes += counts[first + 3];
  }
  std::vector<double> const seconds = joined(std::vector<double>{cost.seconds}, ranks);
  all.cost.seconds = *std::max_element(seconds.begin(), seconds.end());
  return all;
}

}  // namespace isobath
