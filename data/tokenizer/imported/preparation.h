#pragma once
// llama.cpp's names for how a byte-level tokenizer prepares its text (tokenizer.ggml.pre), one table for reading and writing them.

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "data/tokenizer/imported/tokenizer_file.h"

namespace isobath {

struct Preparation {
  std::vector<std::string> names;             // llama.cpp prepares text alike under all of them
  std::vector<nlohmann::ordered_json> steps;  // of a Sequence of pre-tokenizers in tokenizer.json
  bool nfc, ignore_merges;                    // as in TokenizerFile
};

Preparation preparation_called(std::string const& name);  // throws Error(data) listing the known names

// The name under which llama.cpp prepares text as `file` says: `preferred` if it is one of them. Empty where there is none.
std::string preparation_name(TokenizerFile const& file, std::string const& preferred);
std::string known_preparations();  // "gpt-2, phi-2, smollm, ..."

}  // namespace isobath
