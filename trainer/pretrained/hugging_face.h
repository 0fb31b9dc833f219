#pragma once
// Folders for Hugging Face transformers, of classes that compute what a dense model here does.

#include "trainer/pretrained/pretrained.h"

namespace isobath {

// Throws Error(checkpoint).
Pretrained open_hugging_face(fs::path const& folder);

// Removes biases that are all zero, and says of others, and of tensors that are no numbers, why they do not fit: a line each in `problems`.
StoredWeights without_zero_biases(StoredWeights const& weights, std::string& problems);

}  // namespace isobath
