#pragma once
// GGUF files of llama.cpp, of architectures that compute what a dense model here does.

#include "trainer/pretrained/pretrained.h"

namespace isobath {

// Values are dequantised when a tensor is read. Throws Error(checkpoint).
Pretrained open_llama_cpp(fs::path const& path);

}  // namespace isobath
