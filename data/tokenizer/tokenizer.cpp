#include "data/tokenizer/tokenizer.h"

#include <array>

#include "core/error.h"
#include "core/files.h"
#include "core/utf8.h"
#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/imported/imported_tokenizer.h"
#include "data/tokenizer/word_borders.h"

namespace isobath {
namespace {

constexpr std::string_view byte_file = "isobath byte tokenizer 1\n";

class ByteTokenizer : public Tokenizer {
 public:
  ByteTokenizer() {
    for (size_t byte = 0; byte < 256; ++byte) pieces_[byte] = std::string(1, static_cast<char>(byte));
  }
  std::vector<int32_t> encode(std::string_view bytes) const override {
    std::vector<int32_t> ids(bytes.size());
    for (size_t i = 0; i < bytes.size(); ++i) ids[i] = static_cast<unsigned char>(bytes[i]);
    return ids;
  }
  std::string const& piece(int32_t id) const override { return pieces_.at(static_cast<size_t>(id)); }
  int64_t vocab_size() const override { return static_cast<int64_t>(pieces_.size()); }
  int32_t document_end() const override { return 256; }
  std::string fingerprint() const override { return hex(checksum(std::as_bytes(std::span(byte_file)))); }
  std::string kind() const override { return "byte"; }
  std::string serialized() const override { return std::string(byte_file); }

 private:
  std::array<std::string, 257> pieces_;
};

}  // namespace

std::string Tokenizer::decode(std::span<int32_t const> ids) const {
  std::string bytes;
  for (int32_t const id : ids) bytes += piece(id);
  return bytes;
}

std::vector<std::string_view> Tokenizer::split_for_encoding(std::string_view text) const {
  WordBorders const borders;
  std::vector<std::string_view> parts;
  while (text.size() > largest_part) {
    size_t cut = largest_part;
    while (cut > 0 && !borders.between(text[cut - 1], text[cut])) --cut;
    if (cut == 0) cut = utf8_cut(text, largest_part);
    parts.push_back(text.substr(0, cut));
    text.remove_prefix(cut);
  }
  if (!text.empty()) parts.push_back(text);
  return parts;
}

std::vector<int32_t> with_text_start(Tokenizer const& tokenizer, std::vector<int32_t> ids) {
  bool const is_there = !ids.empty() && ids[0] == tokenizer.text_start();
  if (tokenizer.starts_texts() && !is_there) ids.insert(ids.begin(), tokenizer.text_start());
  return ids;
}

std::unique_ptr<Tokenizer> byte_tokenizer() { return std::make_unique<ByteTokenizer>(); }

std::unique_ptr<Tokenizer> parse_tokenizer(std::string_view serialized) {
  if (serialized == byte_file) return byte_tokenizer();
  if (has_settings(serialized)) return imported_tokenizer(serialized);
  return bpe_tokenizer(serialized);
}

}  // namespace isobath
