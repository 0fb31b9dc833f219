#pragma once
// A folder that AutoModelForCausalLM and AutoTokenizer of Hugging Face's transformers load: LlamaForCausalLM, with QK norm
// Qwen3ForCausalLM, and for models that have no class there IsobathForCausalLM, whose code is in the folder. Uses no LibTorch.

#include "trainer/export/exported_model.h"

namespace isobath {

struct HuggingFaceOptions {
  std::string dtype = "F32";  // F32, BF16, F16
  uint64_t part_bytes = 5'000'000'000;
  std::string card;  // the content of README.md
};

// Fills the empty folder and reads everything back. Throws Error(config) for a model or tokenizer that transformers cannot compute, with
// the reason, and Error(disk).
void write_hugging_face(fs::path const& folder, ExportedModel const& model, HuggingFaceOptions const& options);

std::string hugging_face_class(ExportedModel const& model);  // "LlamaForCausalLM"

}  // namespace isobath
