#pragma once
// The tokenizer in the metadata of a GGUF file: tokenizer.ggml.model gpt2 (byte-level BPE) or llama (sentencepiece's BPE).

#include <filesystem>
#include <string>

namespace isobath {

// Below "tokenizer.", in Isobath's own files: special tokens in a text are text (ImportSettings). llama.cpp is told so with each text.
constexpr char const* split_special_key = "isobath.split_special_tokens";

// As a tokenizer.json with settings (import_settings.h). Throws Error(data).
std::string gguf_tokenizer(std::filesystem::path const& file);

}  // namespace isobath
