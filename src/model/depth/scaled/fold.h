#pragma once
// Turns a hardened scaled model into a dense model that computes the same.

#include "model/weights.h"

namespace isobath {

struct DenseModel {
  ModelConfig model;
  NamedTensors weights;  // under Hugging Face Llama's names only
};

// Keeps and renumbers the layers that hardening has kept, and multiplies each layer's factor into its o_proj and down_proj: the logits stay
// the same up to rounding. Throws Error(config) for another kind of depth, for `scale: token`, and for a model that is not hardened.
DenseModel fold_factors(LanguageModel const& model);

}  // namespace isobath
