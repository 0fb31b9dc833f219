#pragma once
// `tokenizer`: how text becomes tokens.

#include <cstdint>
#include <filesystem>
#include <string>

namespace isobath {

struct TokenizerConfig {
  std::string kind = "bpe";  // bpe | byte | a path that load_tokenizer can read
  int64_t vocab_size = 512;
  int64_t train_bytes = 16 << 20;  // text the BPE is trained on

  bool is_byte() const { return kind == "byte"; }
  bool is_trained() const { return kind == "bpe"; }  // on the run's own text; otherwise read from a file, or bytes
};

// Why `kind` cannot be the tokenizer of the configuration in `config_file` (which may be empty); empty when it can.
std::string why_no_tokenizer(std::string const& kind, std::filesystem::path const& config_file);

}  // namespace isobath
