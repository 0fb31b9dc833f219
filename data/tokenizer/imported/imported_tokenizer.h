#pragma once
// Tokenizers that come with pretrained models: byte-level BPE (GPT-2, Llama 3, Qwen, SmolLM) and BPE with U+2581 for a space and tokens for
// bytes (Llama 2, Mistral). They give the ids that Hugging Face's `tokenizers` gives without its post-processor (which puts text_start()
// before a text where starts_texts() is true). decode(encode(x)) == x unless the file normalizes x or puts a space before it, has no token
// for one of its bytes, or x contains the token that ends a document.

#include <memory>
#include <string>
#include <string_view>

#include "data/tokenizer/tokenizer.h"

namespace isobath {

std::unique_ptr<Tokenizer> imported_tokenizer(std::string_view serialized);  // of with_settings() in import_settings.h. Throws Error(data).

}  // namespace isobath
