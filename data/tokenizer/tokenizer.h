#pragma once
// Text to ids and back: decode(encode(x)) == x for every byte string.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace isobath {

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;
  virtual std::vector<int32_t> encode(std::string_view bytes) const = 0;  // thread-safe
  virtual std::string const& piece(int32_t id) const = 0;                 // the bytes this id stands for; empty for document_end()
  virtual int64_t vocab_size() const = 0;
  virtual int32_t document_end() const = 0;  // closes every document in a token stream
  // The token from which a text is predicted: bos, where a pretrained model's tokenizer names one, else document_end().
  virtual int32_t text_start() const { return document_end(); }
  // Hugging Face's tokenizer puts text_start() before every text. encode() does not; with_text_start does.
  virtual bool starts_texts() const { return false; }
  virtual std::string fingerprint() const = 0;  // 16 hex digits: equal means same ids for same text
  virtual std::string kind() const = 0;         // "byte" | "bpe" | "hf-bpe"
  virtual std::string serialized() const = 0;   // content of a tokenizer.model file; load_tokenizer reads it back
  // Parts of `text` that threads can encode separately: the encodings of the parts, joined, are the encoding of `text`. A part cannot be
  // split further. The parts, joined, are `text`, but for spaces at the start of parts where encode() puts a space before every text.
  virtual std::vector<std::string_view> split_for_encoding(std::string_view text) const;
  std::string decode(std::span<int32_t const> ids) const;

 protected:
  static constexpr size_t largest_part = 256 << 10;  // of split_for_encoding, where there is a place to cut
};

// The ids of a text with the token before it that Hugging Face's tokenizer puts there. Not a second one where the text begins with it.
std::vector<int32_t> with_text_start(Tokenizer const& tokenizer, std::vector<int32_t> ids);

std::unique_ptr<Tokenizer> byte_tokenizer();                              // 256 bytes + document end
std::unique_ptr<Tokenizer> parse_tokenizer(std::string_view serialized);  // throws Error(data)

// A tokenizer.model; a Hugging Face tokenizer.json or a folder that holds one, with the files beside it that say which token ends a
// document (tokenizer_config.json, generation_config.json, config.json); the tokenizer in a .gguf. Throws Error(data).
std::unique_ptr<Tokenizer> load_tokenizer(std::filesystem::path const& path);
std::string read_tokenizer(std::filesystem::path const& path);  // its serialized form, without checks of what is in it

}  // namespace isobath
