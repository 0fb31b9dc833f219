#pragma once
// A GGUF file that llama.cpp runs: architecture llama, with QK norm qwen3. Uses no LibTorch.

#include "trainer/export/exported_model.h"

namespace isobath {

// Writes the file and reads it back. dtype: F32, F16, BF16 or Q8_0, of the matrices; vectors stay F32. Returns what a person should know
// about the file, empty as a rule. Throws Error(config) for a model or tokenizer that llama.cpp cannot compute, with the reason, and
// Error(disk).
std::string write_llama_cpp(fs::path const& path, ExportedModel const& model, std::string const& dtype);

std::string llama_cpp_architecture(ModelConfig const& model);  // "llama"

}  // namespace isobath
