#include "trainer/evaluate/oracle.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <cmath>

#include "nn/ops/ops.h"
#include "trainer/evaluate/routing_statistics.h"
#include "trainer/report/statistics.h"
#include "trainer/train/device_prefetcher.h"

namespace isobath {

std::optional<Oracle> measure_branch_oracle(LanguageModel& model, Windows const& text, double mean_depth, EvalSettings const& settings) {
  std::vector<int64_t> const depths = model.plan().branch_depths();
  if (depths.empty()) return std::nullopt;
  int64_t const length = model.model_config().context, n = static_cast<int64_t>(depths.size());
  int64_t const most = RoutingStatistics::most_tokens, wanted = settings.tokens > 0 ? std::min(settings.tokens, most) : most;
  int64_t const windows = evaluated_windows(text, length, wanted);

  EvalMode const mode(model);
  DevicePrefetcher to_device(model.device());
  std::vector<at::Tensor> losses_MB;  // of tokens with a target
  std::vector<at::Tensor> depth_W, difficulty_W;
  for (int64_t first = 0; first < windows;) {
    Batch const batch = text.at(first, std::min(settings.micro_sequences, windows - first));
    DeviceBatch const loaded = to_device.load(batch);
    at::Tensor const targets_N = loaded.targets_N(0, batch.sequences);
    std::vector<at::Tensor> losses_BN;
    model.force_branch(std::nullopt);
    at::Tensor const depth_BT =
        model.forward(loaded.input(0, batch.sequences), Routing::causal, {settings.seed, 0, first * length, NoiseStream::evaluation})
            .depth_BT;
    first += batch.sequences;
    for (int64_t branch = 0; branch < n; ++branch) {
      model.force_branch(branch);
      ModelOutput const output = model.forward(loaded.input(0, batch.sequences), Routing::causal, {});
      losses_BN.push_back(ops::token_losses(output.x_ND, model.head_weight(), targets_N.reshape({-1})));
    }
    depth_W.push_back(depth_BT.to(at::kDouble).mean(1).cpu());
    at::Tensor const scored_BT = targets_N.view({batch.sequences, batch.length}).ne(ignore_target);
    difficulty_W.push_back(losses_BN.front().view_as(scored_BT).to(at::kDouble).sum(1).div(scored_BT.sum(1)).cpu());
    at::Tensor const counts = scored_BT.reshape({-1}).nonzero().squeeze(1);
    losses_MB.push_back(at::stack(losses_BN, 1).index_select(0, counts).to(at::kDouble).cpu());
  }
  model.force_branch(std::nullopt);

  at::Tensor const losses = at::cat(losses_MB), depths_B = at::tensor(depths, at::kDouble);
  auto const of_choice = [&](at::Tensor const& branch_M) { return losses.gather(1, branch_M.unsqueeze(1)).mean().item<double>(); };
  Oracle oracle;
  at::Tensor const means_B = losses.mean(0);
  for (int64_t branch = 0; branch < n; ++branch) oracle.branch_losses.push_back(means_B[branch].item<double>());
  oracle.loss = of_choice(losses.argmin(1));
  double low = -8, high = 8;  // bounds of the price, in nats per layer; the mean depth falls with the price
  for (int halving = 0; halving < 40; ++halving) {
    double const price = (low + high) / 2;
    double const mean = depths_B.index_select(0, (losses + price * depths_B).argmin(1)).mean().item<double>();
    (mean > mean_depth ? low : high) = price;
  }
  oracle.loss_same_depth = of_choice((losses + (low + high) / 2 * depths_B).argmin(1));

  at::Tensor const depth = at::cat(depth_W), difficulty = at::cat(difficulty_W);
  std::vector<std::pair<double, double>> pairs;
  for (int64_t window = 0; window < windows; ++window)
    pairs.emplace_back(depth.const_data_ptr<double>()[window], difficulty.const_data_ptr<double>()[window]);
  Correlation const harder_is_deeper = correlation(pairs);
  oracle.difficulty_correlation = harder_is_deeper.r;
  oracle.correlation_low = harder_is_deeper.low;
  oracle.correlation_high = harder_is_deeper.high;
  return oracle;
}

}  // namespace isobath
