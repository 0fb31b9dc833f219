#pragma once
// Calibrated models whose decisions are causal, and texts of different lengths for them.

#include <ATen/ATen.h>

#include "core/error.h"
#include "tests/torch/reference.h"

namespace isobath::test {

struct Case {
  std::shared_ptr<LanguageModel> model;
  std::vector<std::vector<int32_t>> texts;
};

inline std::vector<int32_t> some_text(int64_t length) {
  at::Tensor const tokens = random_tokens(1, length + 2, 11, static_cast<uint64_t>(length));
  std::vector<int32_t> text;
  for (int64_t t = 0; t < length; ++t) text.push_back(static_cast<int32_t>(tokens[0][t].item<int64_t>()));
  return text;
}

inline Case make_case(DepthConfig const& depth, at::ScalarType type, int64_t head_dim) {
  Shape shape = tiny_shape();
  shape.model.layers = 4;
  shape.model.width = 4 * head_dim;
  shape.model.heads = 4;
  shape.model.kv_heads = 2;
  shape.model.context = 40;
  shape.depth = depth;
  Case c;
  c.model = make_model(shape, type);
  at::NoGradGuard const no_grad;
  for (auto const& stored : c.model->stored())
    if (stored.name.ends_with("scale.weight") || stored.name == "model.depth_gate.weight") at::Tensor(stored.tensor).mul_(4);
  at::Tensor const sample = random_tokens(6, 40, shape.vocab, 9);
  c.model->harden();
  c.model->eval();
  c.model->calibrate({{sample, {}, {}}}, {});
  for (int64_t length : {40, 1, 23}) c.texts.push_back(some_text(length));
  return c;
}

inline at::Tensor one_text(std::vector<int32_t> const& text) {
  return at::tensor(std::vector<int64_t>(text.begin(), text.end())).unsqueeze(0);
}

}  // namespace isobath::test
