#include "trainer/evaluate/routing_statistics.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/bincount.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace isobath {

namespace {

constexpr int64_t bins = 32;

std::vector<int64_t> to_vector(at::Tensor const& counts) {
  at::Tensor const on_cpu = counts.to(at::kLong).cpu().contiguous();
  return {on_cpu.const_data_ptr<int64_t>(), on_cpu.const_data_ptr<int64_t>() + on_cpu.numel()};
}

// Entropy of the distribution `counts`, in nats: exactly 0 when only one count is not 0, NaN when all are 0.
double entropy(std::vector<int64_t> const& counts) {
  auto const total = static_cast<double>(std::accumulate(counts.begin(), counts.end(), int64_t{0}));
  if (total == 0) return std::nan("");
  double sum = 0;
  for (int64_t const count : counts) {
    double const share = static_cast<double>(count) / total;
    if (count > 0) sum -= share * std::log(share);
  }
  return sum;
}

// The best F1 of any threshold. No threshold separates equal scores, so only the last of equal scores is a candidate.
double best_threshold_f1(at::Tensor const& score_N, at::Tensor const& picked_N) {
  auto const [sorted_N, order_N] = score_N.sort(0, /*descending=*/true);
  int64_t const N = sorted_N.numel();
  at::Tensor const hits_N = picked_N.index_select(0, order_N).cumsum(0);
  at::Tensor const f1_N = 2 * hits_N.to(at::kDouble) / (at::arange(1, N + 1, hits_N.options()) + hits_N.select(0, N - 1));
  at::Tensor const separates_N =
      at::cat({sorted_N.narrow(0, 0, N - 1).ne(sorted_N.narrow(0, 1, N - 1)), at::ones({1}, sorted_N.options().dtype(at::kBool))});
  return at::where(separates_N, f1_N, 0).max().item<double>();
}

ScoreHistogram score_histogram(at::Tensor const& score_N, at::Tensor const& picked_N) {
  auto const sorted_N = std::get<0>(score_N.sort());
  int64_t const N = sorted_N.numel(), outside = N / 1000;
  ScoreHistogram result;
  result.low = sorted_N.select(0, outside).item<double>();
  result.high = sorted_N.select(0, N - 1 - outside).item<double>();
  double const span = result.high - result.low;
  if (!std::isfinite(span)) return result;
  at::Tensor const bin_N = span > 0 ? ((score_N - result.low) * (bins / span)).floor().clamp(0, bins - 1).to(at::kLong)
                                    : at::zeros({N}, score_N.options().dtype(at::kLong));
  result.tokens = to_vector(at::bincount(bin_N, {}, bins));
  result.picked = to_vector(at::bincount(bin_N, picked_N.to(at::kDouble), bins));
  return result;
}

}  // namespace

void RoutingStatistics::add(ModelOutput const& output, at::Tensor const& tokens_BT) {
  if (output.routed_layers.empty() || seen_ >= most_tokens) return;
  seen_ += tokens_BT.numel();
  at::Tensor const tokens_N = tokens_BT.reshape({-1});
  auto const add_to = [](at::Tensor& sum, at::Tensor const& term) { sum = sum.defined() ? sum + term : term; };
  auto const count_items = [&](at::Tensor const& which_N) { return at::bincount(tokens_N, which_N, vocab_size_); };
  add_to(item_V, count_items({}));
  layers_.resize(output.routed_layers.size());
  for (size_t i = 0; i < layers_.size(); ++i) {
    RoutedLayer const& from = output.routed_layers[i];
    Layer& layer = layers_[i];
    layer.scores_N.push_back(from.score_BT.reshape({-1}));
    layer.picked_N.push_back(from.topk_BT.reshape({-1}));
    add_to(layer.decided, from.causal_BT.sum());
    add_to(layer.both, from.causal_BT.logical_and(from.topk_BT).sum());
    add_to(layer.ran_of_item_V, count_items(from.executed_BT.reshape({-1}).to(at::kDouble)));
    add_to(layer.ran_place_T, at::constant_pad_nd(from.executed_BT.sum(0), {0, length_ - from.executed_BT.size(1)}));
  }
}

void RoutingStatistics::join(AcrossRanks const& ranks) {
  if (ranks.size == 1) return;
  int64_t const count = ranks.joined(at::full({1}, std::ssize(layers_), at::kLong)).max().item<int64_t>();
  if (count == 0) return;
  if (layers_.empty()) {  // all batches were others'
    auto const none = [&](std::vector<int64_t> const& shape, at::ScalarType type) {
      return at::zeros(shape, at::TensorOptions().dtype(type).device(device_));
    };
    item_V = none({vocab_size_}, at::kLong);
    Layer const nothing{{none({0}, at::kDouble)}, {none({0}, at::kBool)},           none({}, at::kLong),
                        none({}, at::kLong),      none({vocab_size_}, at::kDouble), none({length_}, at::kLong)};
    layers_.assign(static_cast<size_t>(count), nothing);
  }
  auto const sum = [&](at::Tensor& count) { count = ranks.joined(count.unsqueeze(0)).sum(0); };
  sum(item_V);
  for (Layer& layer : layers_) {
    at::Tensor const score_N = at::cat(layer.scores_N);
    layer.scores_N = {ranks.joined(score_N.to(at::kDouble)).to(score_N.scalar_type())};  // double: who has none does not know their type
    layer.picked_N = {ranks.joined(at::cat(layer.picked_N))};
    for (at::Tensor* count : {&layer.decided, &layer.both, &layer.ran_of_item_V, &layer.ran_place_T}) sum(*count);
  }
}

std::vector<LayerStatistics> RoutingStatistics::layers() const {
  std::vector<LayerStatistics> all;
  auto const ratio = [](double a, double b) { return b > 0 ? a / b : std::numeric_limits<double>::quiet_NaN(); };
  for (Layer const& layer : layers_) {
    LayerStatistics& statistics = all.emplace_back();
    at::Tensor const all_N = at::cat(layer.scores_N);
    at::Tensor const candidates = all_N.ne(-std::numeric_limits<double>::infinity()).nonzero().squeeze(1);
    at::Tensor const score_N = all_N.index_select(0, candidates), picked_N = at::cat(layer.picked_N).index_select(0, candidates);
    auto const picks = static_cast<double>(picked_N.sum().item<int64_t>()), decided = static_cast<double>(layer.decided.item<int64_t>());
    statistics.f1 = ratio(2 * static_cast<double>(layer.both.item<int64_t>()), picks + decided);
    statistics.f1_ceiling = score_N.numel() > 0 ? best_threshold_f1(score_N, picked_N) : std::nan("");
    if (score_N.numel() > 0) statistics.scores = score_histogram(score_N, picked_N);

    std::vector<int64_t> const item = to_vector(item_V), ran_of_item = to_vector(layer.ran_of_item_V);
    statistics.entropy_token = ratio(entropy(ran_of_item), entropy(item));
    statistics.entropy_position = ratio(entropy(to_vector(layer.ran_place_T)), std::log(static_cast<double>(length_)));
    double common = 0, dead = 0, always_on = 0;
    for (size_t id = 0; id < item.size(); ++id) {
      if (item[id] < often) continue;
      auto const count = static_cast<double>(item[id]);
      common += count;
      if (ran_of_item[id] == 0) dead += count;
      if (ran_of_item[id] == item[id]) always_on += count;
    }
    statistics.dead = ratio(dead, common);
    statistics.always_on = ratio(always_on, common);
  }
  return all;
}

}  // namespace isobath
