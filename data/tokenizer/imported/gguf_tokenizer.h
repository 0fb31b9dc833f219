#pragma once
// The tokenizer in the metadata of a GGUF file: tokenizer.ggml.model gpt2 (byte-level BPE) or llama (sentencepiece's BPE).

#include <filesystem>
#include <string>

namespace isobath {

// As a tokenizer.json with settings (import_settings.h). Throws Error(data).
std::string gguf_tokenizer(std::filesystem::path const& file);

}  // namespace isobath
