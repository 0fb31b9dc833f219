#pragma once
// The tokenizer that a configuration asks for.

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "config/sections/tokenizer.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {

// Bytes, or read from a file, or trained on the text that `sample` gives, of at most train_bytes.
std::unique_ptr<Tokenizer> make_tokenizer(TokenizerConfig const& config, std::function<std::vector<std::string>()> const& sample);

}  // namespace isobath
