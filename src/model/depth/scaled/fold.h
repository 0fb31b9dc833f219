#pragma once
// A scaled model as a plain dense one: what is left of it once factors are fixed.

#include "model/weights.h"

namespace isobath {

struct DenseModel {
  ModelConfig model;
  NamedTensors weights;  // Hugging Face Llama's names alone
};

// The layers that hardening left, renumbered, each factor multiplied into o_proj and down_proj: the same logits up to rounding. Throws
// Error(config) of another kind of depth, of `scale: token`, and before hardening.
DenseModel fold_factors(LanguageModel const& model);

}  // namespace isobath
