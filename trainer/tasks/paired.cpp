#include "trainer/tasks/paired.h"

#include <algorithm>

#include "core/random.h"
#include "trainer/report/statistics.h"

namespace isobath {

PairedTask compare_answers(std::vector<std::vector<bool>> const& model, std::vector<std::vector<bool>> const& baseline) {
  PairedTask result;
  auto const seeds = std::ssize(model), items = seeds > 0 ? std::ssize(model.front()) : 0;
  std::vector<std::vector<double>> differences;  // of each seed and item: -1, 0 or 1
  for (size_t seed = 0; seed < model.size(); ++seed) {
    int64_t first = 0, second = 0;
    differences.emplace_back();
    for (size_t i = 0; i < model[seed].size(); ++i) {
      int const difference = int{model[seed][i]} - int{baseline[seed][i]};
      differences.back().push_back(difference);
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
    double sum = 0;
    for (int64_t s = 0; s < seeds; ++s) {
      auto const& of_seed = differences[random_bits(key, resample++) % static_cast<uint64_t>(seeds)];
      for (int64_t const i : drawn) sum += of_seed[static_cast<size_t>(i)];
    }
    return sum / n;
  });
  return result;
}

}  // namespace isobath
