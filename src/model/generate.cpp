#include "model/generate.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/softmax.h>

#include "core/error.h"
#include "core/random.h"

namespace isobath {

namespace {

// The first id whose cumulative probability passes a uniform number that depends on (seed, position of the new token) alone.
int32_t draw(at::Tensor const& logits_V, SampleSettings const& settings, uint64_t counter) {
  if (settings.temperature <= 0) return static_cast<int32_t>(logits_V.argmax().item<int64_t>());
  at::Tensor const cumulative_V = logits_V.to(at::kDouble).div(settings.temperature).softmax(0).cumsum(0).contiguous();
  double const* values = cumulative_V.const_data_ptr<double>();
  int64_t const last = cumulative_V.size(0) - 1;
  double const target = random_uniform(make_key({settings.seed, hash_text("sample")}), counter) * values[last];
  int64_t id = 0;
  while (id < last && values[id] <= target) ++id;
  return static_cast<int32_t>(id);
}

}  // namespace

std::vector<int32_t> generate(LanguageModel& model, std::vector<int32_t> const& prompt, SampleSettings const& settings,
                              std::function<void(int32_t)> const& on_token) {
  if (prompt.empty()) throw Error(ExitCode::data, "generate needs at least one token to start from");
  at::NoGradGuard no_grad;
  std::vector<int32_t> ids = prompt, fresh;
  for (int64_t step = 0; step < settings.max_tokens; ++step) {
    int64_t const length = std::min<int64_t>(static_cast<int64_t>(ids.size()), model.model_config().context);
    at::Tensor tokens_BT = at::empty({1, length}, at::TensorOptions().dtype(at::kLong));
    std::copy(ids.end() - length, ids.end(), tokens_BT.mutable_data_ptr<int64_t>());
    ModelOutput const output = model.forward({tokens_BT.to(model.device()), {}, {}}, Routing::causal, {settings.seed, step, 0});
    int32_t const id = draw(model.logits(output.x_ND.narrow(0, length - 1, 1)).squeeze(0).cpu(), settings, static_cast<uint64_t>(step));
    if (id == settings.stop_token) break;
    ids.push_back(id);
    fresh.push_back(id);
    if (on_token) on_token(id);
  }
  return fresh;
}

}  // namespace isobath
