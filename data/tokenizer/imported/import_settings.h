#pragma once
// What Isobath needs to know of a pretrained model's tokenizer and its tokenizer.json does not say.

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>

namespace isobath {

struct ImportSettings {
  std::string document_end;           // the token that ends a document: "</s>"
  int32_t document_end_id = -1;       // ... or its id, where the name is empty
  std::string text_start;             // the token that begins a text: "<s>"; empty: the file names none
  bool split_special_tokens = false;  // special tokens in a text are text. Otherwise "<|im_start|>" in a text is that token.
  int64_t vocab_size = 0;             // there are at least as many ids: a model's embedding may have more rows than there are tokens
  std::string chat_template;          // kept, not used
  std::string preparation;            // llama.cpp's name for the tokenizer's patterns, if it came from a GGUF file; for exports
};

// The content of a tokenizer.model file: the tokenizer.json with a key "isobath" that holds the settings.
std::string with_settings(std::string_view tokenizer_json, ImportSettings const& settings);
bool has_settings(std::string_view json);
std::pair<std::string, ImportSettings> without_settings(std::string_view serialized);  // throws Error(data)

// A serialized tokenizer without text_start and preparation: equal for tokenizers that give every text the same ids. Throws Error(data).
std::string what_decides_ids(std::string_view serialized);

[[noreturn]] void refuse_tokenizer_json(std::string const& what);

}  // namespace isobath
