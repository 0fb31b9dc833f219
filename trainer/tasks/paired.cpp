#include "trainer/tasks/paired.h"

#include <algorithm>

#include "core/random.h"
#include "trainer/report/statistics.h"

namespace isobath {

PairedTask compare_answers(std::vector<std::vector<bool>> const& model, std::vector<std::vector<bool>> const& baseline) {
  PairedTask result;
  auto const seeds = std::ssize(model), items = seeds > 0 ? std::ssize(model.front()) : 0;
  std::vector<int32_t> differences(static_cast<size_t>(seeds * items));  // of each item and seed, seeds beside each other: -1, 0 or 1
  for (size_t seed = 0; seed < model.size(); ++seed) {
    int64_t first = 0, second = 0;
    for (size_t i = 0; i < model[seed].size(); ++i) {
      int const difference = int{model[seed][i]} - int{baseline[seed][i]};
      differences[i * model.size() + seed] = difference;
      first += difference > 0;
      second += difference < 0;
    }
    result.mcnemar.push_back(mcnemar_exact(first, second));
    result.only_model += first;
    result.only_baseline += second;
  }
  if (items == 0) return result;
  double const n = static_cast<double>(seeds * items);
  result.difference.value = static_cast<double>(result.only_model - result.only_baseline) / n;
  constexpr uint64_t key = 0x9e3779b9;
  uint64_t resample = 0;
  std::tie(result.difference.low, result.difference.high) = bootstrap_interval(items, 1, [&](std::vector<int64_t> const& drawn) {
    std::vector<int64_t> sums(model.size());
    for (int64_t const i : drawn)
      for (size_t seed = 0; seed < sums.size(); ++seed) sums[seed] += differences[static_cast<size_t>(i) * sums.size() + seed];
    int64_t sum = 0;
    for (int64_t s = 0; s < seeds; ++s) sum += sums[random_bits(key, resample++) % static_cast<uint64_t>(seeds)];
    return static_cast<double>(sum) / n;
  });
  return result;
}

}  // namespace isobath
