#include "model/depth/nested/gate.h"

#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/full.h>
#include <ATen/ops/full_like.h>
#include <ATen/ops/log_softmax.h>
#include <ATen/ops/one_hot.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/softmax.h>
#include <ATen/ops/special_ndtr.h>
#include <ATen/ops/stack.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "config/sections/routers.h"
#include "core/random.h"
#include "model/depth/nested/plan.h"
#include "nn/attention/kv_cache.h"
#include "nn/ops/ops.h"

namespace isobath {

DepthGateImpl::DepthGateImpl(ModelConfig const& model, DepthConfig const& depth)
    : training_kind(depth.gate_training),
      depths(NestedPlan(model, depth).branch_depths()),
      shares(NestedPlan(model, depth).branch_shares()),
      random(router_kind(depth.router).random),
      by_sequence(depth.choice == BranchChoice::sequence),
      balance_loss(depth.balance == Balance::loss),
      balance_bias(depth.balance == Balance::bias),
      layers(model.layers),
      prefix(resolved_prefix(model, depth)),
      mean_depth(depth.mean_depth),
      price_rate(depth.price_rate),
      balance_weight(depth.balance_weight),
      temperature(depth.hindsight_temperature) {
  int64_t const n = static_cast<int64_t>(depths.size()), H = resolved_router_width(model, depth);
  bool const hidden = router_kind(depth.router).has_hidden_layer();
  if (!random) {
    if (hidden) hidden_HD = register_parameter("hidden", at::empty({H, model.width}));
    weight_BX = register_parameter("weight", at::empty({n, hidden ? H : model.width}));
    bias_B = register_parameter("bias", at::empty({n}));
  }
  price = register_buffer("price", at::zeros({1}));
  balance_B = register_buffer("balance", at::zeros({n}));
  cut = register_buffer("cut", at::zeros({1}));
  previous_shares_B = register_buffer("chosen", at::full({n}, 1 / static_cast<double>(n)));
}

at::Tensor DepthGateImpl::network(at::Tensor const& x_ND) const {
  at::Tensor hidden_NX = ops::unit_rms(x_ND);
  if (hidden_HD.defined()) hidden_NX = at::silu(ops::linear(hidden_NX, hidden_HD));
  return ops::linear(hidden_NX, weight_BX).to(ops::wide_options(x_ND)) + bias_B;
}

at::Tensor DepthGateImpl::relative_depths_B(at::Tensor const& like) const { return depths_B(like) / static_cast<double>(layers); }

at::Tensor DepthGateImpl::depths_B(at::Tensor const& like) const { return at::tensor(depths).to(like.options()); }

at::Tensor DepthGateImpl::prefix_means(at::Tensor const& x_ND, Rows const& rows, at::Tensor& prefix_N) const {
  int64_t const B = rows.sequences, T = rows.longest;
  at::Tensor const x_BTD = x_ND.view({B, T, -1});
  if (!rows.cache) {
    prefix_N = at::arange(T, rows.positions_R.options()).lt(prefix).expand({B, T}).reshape({-1});
    return x_BTD.narrow(1, 0, std::min(prefix, T)).mean(1);
  }
  at::Tensor const in_prefix_BT = at::zeros({B, T}, x_ND.options().dtype(at::kBool)), slots_R = rows.slots_R.cpu();
  std::vector<at::Tensor> means;
  for (int64_t b = 0; b < B; ++b) {
    KvCache::Prefix& text = rows.cache->prefix(slots_R[b * T].item<int64_t>());
    int64_t const more = std::min(prefix - text.count, T);
    if (more > 0) {
      at::Tensor const sum_D = x_BTD.select(0, b).narrow(0, 0, more).sum(0);
      text.sum_D = text.count > 0 ? text.sum_D + sum_D : sum_D;
      text.count += more;
      in_prefix_BT.select(0, b).narrow(0, 0, more).fill_(true);
    }
    means.push_back(text.sum_D / static_cast<double>(text.count));
  }
  prefix_N = in_prefix_BT.view({-1});
  return at::stack(means);
}

DepthGateImpl::Choice DepthGateImpl::choose(at::Tensor const& x_ND, Rows const& rows, uint64_t noise_key) const {
  int64_t const B = rows.sequences, T = rows.longest, n = static_cast<int64_t>(depths.size());
  at::TensorOptions const wide = ops::wide_options(x_ND);
  Choice choice;
  at::Tensor beginnings_BD;
  if (by_sequence) beginnings_BD = prefix_means(x_ND, rows, choice.prefix_N);
  if (random) {  // one uniform number per token (by sequence: that of its prefix's last token), compared with the cumulative shares
    at::Tensor draws_BT = noise_counters(rows).view({B, T});
    if (by_sequence)
      draws_BT = rows.cache ? at::full_like(draws_BT, prefix - 1) : draws_BT.narrow(1, std::min(prefix, T) - 1, 1).expand({B, T});
    at::Tensor const uniform_N1 = at::special_ndtr(ops::random_normal(noise_key, draws_BT.reshape({-1}), wide)).unsqueeze(1);
    at::Tensor const sums_B = at::tensor(shares, at::kDouble).cumsum(0).slice(0, 0, n - 1).to(wide);
    choice.branch_BT = uniform_N1.gt(sums_B).sum(1).view({B, T});
  } else {
    at::Tensor logits_NB = network(by_sequence ? beginnings_BD : x_ND);
    choice.logits_NB = by_sequence ? logits_NB.unsqueeze(1).expand({B, T, n}).reshape({B * T, n}) : logits_NB;
    choice.probability_NB = choice.logits_NB.softmax(1);
    at::Tensor score_NB = logits_NB.detach() + balance_B;
    if (is_training() && at::GradMode::is_enabled() && training_kind == GateTraining::gumbel) {
      // Sequence b of this micro-batch is sequence first_noise_counter / T + b of the step's whole batch.
      at::Tensor const decider_N =
          by_sequence ? at::arange(B, rows.positions_R.options()) + rows.first_noise_counter / T : noise_counters(rows);
      at::Tensor const counter_N = (decider_N.unsqueeze(1) * n + at::arange(n, decider_N.options())).view({-1});
      at::Tensor const uniform_N = at::special_ndtr(ops::random_normal(noise_key, counter_N, wide)).clamp(1e-7, 1 - 1e-7);
      score_NB = score_NB - uniform_N.log().neg().log().view_as(score_NB);
    }
    if (!is_training()) score_NB = score_NB + relative_depths_B(score_NB) * cut;
    at::Tensor const branch_N = score_NB.argmax(1);
    choice.branch_BT = by_sequence ? branch_N.unsqueeze(1).expand({B, T}).clone() : branch_N.view({B, T});
    choice.score_NB = by_sequence ? score_NB.unsqueeze(1).expand({B, T, n}).reshape({B * T, n}) : score_NB;
  }
  if (by_sequence) choice.branch_BT.masked_fill_(choice.prefix_N.view({B, T}), n - 1);
  return choice;
}

at::Tensor DepthGateImpl::calibration_scores(at::Tensor const& x_ND, Rows const& rows) const {
  at::Tensor prefix_N;
  return network(by_sequence ? prefix_means(x_ND, rows, prefix_N) : x_ND).detach() + balance_B;
}

void DepthGateImpl::calibrate(at::Tensor const& score_NB, int64_t length) {
  // Prefix tokens go through all layers, so the other tokens' mean depth must be lower than mean_depth.
  double const share = by_sequence ? static_cast<double>(prefix) / static_cast<double>(length) : 0;
  double const wanted = (mean_depth - share * static_cast<double>(layers)) / (1 - share);
  at::Tensor const relative_B = relative_depths_B(score_NB);
  double low = -64, high = 64;  // the mean depth rises with the cut
  for (int halving = 0; halving < 40; ++halving) {
    double const middle = (low + high) / 2;
    double const mean = depths_B(score_NB).index_select(0, score_NB.add(relative_B, middle).argmax(1)).mean().item<double>();
    (mean < wanted ? low : high) = middle;
  }
  cut.fill_((low + high) / 2);
}

at::Tensor DepthGateImpl::weight_N(Choice const& choice, int64_t exit) const {
  if (random || training_kind == GateTraining::hindsight) return {};
  at::Tensor goes_on_N = choice.probability_NB.slice(1, exit + 1).sum(1);
  if (by_sequence) {  // prefix tokens always go on; a factor would show them a choice that depends on later tokens
    goes_on_N = goes_on_N.masked_fill(choice.prefix_N, 1);
  }
  if (training_kind == GateTraining::weight) return goes_on_N;
  return at::GradMode::is_enabled() ? 1 + goes_on_N - goes_on_N.detach() : at::Tensor();
}

at::Tensor DepthGateImpl::margin_N(Choice const& choice, int64_t exit) const {
  at::Tensor const stops_N = choice.score_NB.slice(1, 0, exit + 1).amax(1), goes_on_N = choice.score_NB.slice(1, exit + 1).amax(1);
  at::Tensor const margin_N = (goes_on_N - stops_N).abs();
  return by_sequence ? margin_N.masked_fill(choice.prefix_N, std::numeric_limits<double>::infinity()) : margin_N;
}

at::Tensor DepthGateImpl::loss_sum(Choice const& choice) const {
  if (random) return {};
  auto const n = static_cast<int64_t>(depths.size());
  at::Tensor const& p_NB = choice.probability_NB;
  at::Tensor loss;
  if (balance_loss) loss = balance_weight * static_cast<double>(n) * (previous_shares_B * p_NB.sum(0)).sum();
  if (mean_depth > 0 && training_kind != GateTraining::hindsight) {
    at::Tensor const depth_sum = (p_NB * depths_B(p_NB)).sum() / static_cast<double>(layers);
    loss = loss.defined() ? loss + price.squeeze(0) * depth_sum : price.squeeze(0) * depth_sum;
  }
  return loss;
}

at::Tensor DepthGateImpl::hindsight_loss_sum(Choice const& choice, at::Tensor const& losses_NB, at::Tensor const& targets_N) const {
  int64_t const B = choice.branch_BT.size(0), T = choice.branch_BT.size(1), n = losses_NB.size(1);
  at::Tensor counts_N = targets_N.ne(-100), costs_NB = losses_NB;
  if (by_sequence) {
    at::Tensor const behind_BT1 = counts_N.view({B, T}).logical_and(at::arange(T, targets_N.options()).ge(prefix)).unsqueeze(2);
    at::Tensor const tokens_B11 = behind_BT1.sum(1, true).clamp_min(1);
    costs_NB = ((losses_NB.view({B, T, n}) * behind_BT1).sum(1, true) / tokens_B11).expand({B, T, n}).reshape({B * T, n});
  }
  costs_NB = costs_NB + price * depths_B(losses_NB) / static_cast<double>(layers);
  at::Tensor const target_NB =
      temperature > 0 ? (-costs_NB / temperature).softmax(1) : at::one_hot(costs_NB.argmin(1), n).to(costs_NB.options());
  at::Tensor const loss_N = -(target_NB * choice.logits_NB.log_softmax(1)).sum(1);
  return (loss_N * counts_N).sum();
}

at::Tensor DepthGateImpl::counts(Choice const& choice) const {
  return at::one_hot(choice.branch_BT.reshape({-1}), static_cast<int64_t>(depths.size())).sum(0, /*keepdim=*/true);
}

void DepthGateImpl::end_of_step(at::Tensor const& counts_B, at::Tensor const& updated) {
  at::NoGradGuard no_grad;
  at::Tensor const now_B = counts_B.to(price.options()) / counts_B.sum().to(price.options()), zero = at::zeros_like(price);
  if (mean_depth > 0)
    price.add_(at::where(updated, (now_B * depths_B(price)).sum() - mean_depth, zero), price_rate / static_cast<double>(layers));
  if (balance_bias) balance_B.add_(at::where(updated, (at::tensor(shares).to(price.options()) - now_B).sign(), zero), balance_weight);
  previous_shares_B.copy_(at::where(updated, now_B, previous_shares_B));
}

void DepthGateImpl::weights(WeightList& list) const {
  if (hidden_HD.defined())
    list.random("model.depth_gate.up.weight", hidden_HD, Role::router, 1 / std::sqrt(static_cast<double>(hidden_HD.size(1))));
  if (weight_BX.defined())
    list.random("model.depth_gate.weight", weight_BX, Role::router, 0.1 / std::sqrt(static_cast<double>(weight_BX.size(1))));
  list.constant("model.depth_gate.bias", bias_B, Role::router, 0);
  list.buffer("model.depth_gate.price", price, 0);
  list.buffer("model.depth_gate.balance", balance_B, 0);
  list.buffer("model.depth_gate.cut", cut, 0);
  if (balance_loss) list.buffer("model.depth_gate.chosen", previous_shares_B, 1 / static_cast<double>(depths.size()), /*optional=*/true);
}

}  // namespace isobath
