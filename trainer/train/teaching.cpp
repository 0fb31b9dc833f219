#include "trainer/train/teaching.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/empty.h>

#include "core/error.h"
#include "trainer/run/machine.h"

namespace isobath {
namespace {

// Runs the teacher on a window; record_X as TeacherCache has it.
void record_window(Teaching const& teaching, ModelInput const& window, at::Tensor const& record_X) {
  LanguageModel& teacher = *teaching.teacher;
  at::Tensor const x_TD = teacher.forward(window, Routing::topk, {}).x_ND;
  ops::LikeliestTokens const tokens = ops::likeliest_tokens(x_TD, teacher.head_weight(), teaching.temperature, teaching.top);
  record_X.select(0, 0).copy_(tokens.ids_NK.reshape({-1}));
  record_X.select(0, 1).view(at::kFloat).copy_(tokens.log_p_NK.reshape({-1}));
}

ops::LikeliestTokens likeliest_of_batch(Teaching const& teaching, DeviceBatch const& batch, int64_t first, int64_t count) {
  at::Device const device = batch.tokens_BT.device();
  int64_t const T = batch.tokens_BT.size(1), K = teaching.top;
  at::Tensor const records_BX = at::empty({count, 2, T * K}, at::TensorOptions().dtype(at::kInt).pinned_memory(device.is_cuda()));
  for (int64_t i = 0; i < count; ++i) {
    at::Tensor const record_X = records_BX.select(0, i);
    if (!teaching.cache) {
      record_window(teaching, batch.input(first + i, 1), record_X);
      continue;
    }
    int64_t const window = batch.windows.at(static_cast<size_t>(first + i));
    if (teaching.cache->read(window, record_X)) continue;
    record_window(teaching, batch.input(first + i, 1), record_X);
    teaching.cache->write(window, record_X);
  }
  at::Tensor const on_device_BX = records_BX.to(device, /*non_blocking=*/true);
  return {on_device_BX.select(1, 0).reshape({count * T, K}), on_device_BX.select(1, 1).reshape({count * T, K}).view(at::kFloat)};
}

}  // namespace

std::optional<ops::Distillation> Teaching::distillation(DeviceBatch const& batch, int64_t first, int64_t count) const {
  if (!teacher) return std::nullopt;
  at::NoGradGuard const no_grad;
  if (top > 0) return ops::Distillation{likeliest_of_batch(*this, batch, first, count), weight, temperature};
  at::Tensor const x_ND = teacher->forward(batch.input(first, count), Routing::topk, {}).x_ND;
  return ops::Distillation{ops::TeacherStates{x_ND, teacher->head_weight()}, weight, temperature};
}

Teaching make_teaching(Config const& config, int64_t vocab_size) {
  DistillConfig const& distill = config.train.distill;
  Teaching teaching{nullptr, distill.weight, distill.temperature, distill.top};
  if (!distill.teacher) return teaching;
  if (distill.top > vocab_size)
    throw Error(ExitCode::config, "train.distill.top = " + std::to_string(distill.top) + " is more than the vocabulary of " +
                                      std::to_string(vocab_size) + " tokens; train.distill.top: all learns from every one of them");
  teaching.teacher = std::make_shared<LanguageModel>(*distill.teacher, DepthConfig{}, vocab_size, static_cast<uint64_t>(config.seed));
  teaching.teacher->eval();
  place_model(*teaching.teacher, config);
  return teaching;
}

}  // namespace isobath
