#include "trainer/evaluate/future_leakage.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/zeros.h>

#include <algorithm>

#include "core/error.h"
#include "data/loader.h"
#include "nn/ops/ops.h"
#include "trainer/train/device_prefetcher.h"

namespace isobath {

FutureLeakage measure_future_leakage(LanguageModel& model, TokenStream const& valid, Routing routing, EvalSettings const& settings) {
  EvalMode const mode(model);
  int64_t const length = model.model_config().context, half = length / 2;
  Loader const loader(valid, length, 0, /*ordered=*/true, settings.isolate_documents);
  int64_t windows = loader.samples_per_epoch() - 1;  // the last one may be shorter
  if (settings.tokens > 0) windows = std::min(windows, std::max<int64_t>(2, settings.tokens / length));
  int64_t const at_once = std::max<int64_t>(2, settings.micro_sequences);
  if (windows < 2 || half < 2)
    throw Error(ExitCode::data, "a leak is measured between two windows of at least 4 tokens; the validation text has " +
                                    std::to_string(std::max<int64_t>(0, windows)) + " of model.context = " + std::to_string(length));

  DevicePrefetcher to_device(model.device());
  int64_t tokens = 0, choices = 0;  // choices: tokens times routed layers
  at::Tensor changed, difference;
  auto const add = [](at::Tensor& sum, at::Tensor const& term) { sum = sum.defined() ? sum + term : term; };
  for (int64_t first = 0; first < windows;) {
    int64_t const left = windows - first;
    Batch const batch = loader.at(first, left <= at_once + 1 ? left : at_once);  // never leaves a single window
    NoiseKey const noise{settings.seed, 0, first * length, NoiseStream::evaluation};
    first += batch.sequences;
    DeviceBatch const loaded = to_device.load(batch);
    ModelInput const before = loaded.input(0, batch.sequences);
    auto const with_other_half = [&](at::Tensor const& x_BT, int64_t added) {
      return x_BT.defined() ? at::cat({x_BT.narrow(1, 0, half), x_BT.narrow(1, half, length - half).roll(1, 0) + added}, 1) : at::Tensor();
    };
    ModelInput const after{with_other_half(before.tokens_BT, 0), with_other_half(before.positions_BT, 0),
                           with_other_half(before.segments_BT, length)};  // new document numbers, above those of the first half
    ModelOutput const a = model.forward(before, routing, noise), b = model.forward(after, routing, noise);

    // Leaves out the last token of the first half, because its target has changed.
    at::Tensor looked_BT = at::ones({batch.sequences, half - 1}, before.tokens_BT.options().dtype(at::kBool));
    if (before.segments_BT.defined()) looked_BT = before.segments_BT.narrow(1, 0, half - 1).ne(before.segments_BT.narrow(1, half - 1, 1));
    int64_t const looked = looked_BT.sum().item<int64_t>();
    tokens += looked;
    choices += looked * std::ssize(a.routed_layers);
    at::Tensor const targets_N = loaded.targets_N(0, batch.sequences);
    auto const losses = [&](ModelOutput const& output) {
      at::Tensor const losses_N = ops::token_losses(output.x_ND, model.head_weight(), targets_N);
      return losses_N.view({batch.sequences, length}).narrow(1, 0, half - 1).to(at::kDouble);
    };
    add(difference, losses(a).sub(losses(b)).abs().mul(looked_BT).sum());
    for (size_t layer = 0; layer < a.routed_layers.size(); ++layer) {
      at::Tensor const flips_BT = a.routed_layers[layer].executed_BT.ne(b.routed_layers[layer].executed_BT);
      add(changed, flips_BT.narrow(1, 0, half - 1).logical_and(looked_BT).sum());
    }
  }
  auto const share = [&](at::Tensor const& sum, int64_t of) {
    return sum.defined() && of > 0 ? sum.to(at::kDouble).item<double>() / static_cast<double>(of) : 0;
  };
  return {tokens, share(changed, choices), share(difference, tokens)};
}

}  // namespace isobath
