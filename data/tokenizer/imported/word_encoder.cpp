#include "data/tokenizer/imported/word_encoder.h"

#include <algorithm>
#include <cstdio>
#include <optional>

#include "core/utf8.h"
#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/pieces.h"

namespace isobath {
namespace {

std::string byte_token(size_t byte) {
  char name[8];
  std::snprintf(name, sizeof name, "<0x%02X>", static_cast<unsigned>(byte));
  return name;
}

}  // namespace

WordEncoder::WordEncoder(TokenizerFile const& file)
    : byte_level_(file.byte_level), fuse_unknown_(file.fuse_unknown), ignore_merges_(file.ignore_merges), unknown_(file.unknown) {
  for (auto const& [name, id] : file.vocabulary) {
    if (!byte_level_ && name.find(' ') == std::string::npos) ids_[spaces_for_marks(name)] = id;
    if (auto const bytes = byte_level_ ? byte_level_bytes(name) : std::nullopt) ids_[*bytes] = id;
  }
  for (size_t byte = 0; byte < bytes_.size(); ++byte) {
    std::string const name = byte_level_ ? byte_level_names()[byte] : byte_token(byte);
    auto const found = file.vocabulary.find(name);
    bytes_[byte] = found == file.vocabulary.end() ? -1 : found->second;
    if (byte_level_) continue;
    if (byte == ' ' && !ids_.contains(" ")) refuse_tokenizer_json("its vocabulary has no U+2581, which stands for a space");
    if (byte != ' ' && bytes_[byte] < 0) refuse_tokenizer_json("its vocabulary has no " + name + ", which stands for a byte");
  }
  merges_.reserve(file.merges.size());
  for (auto const& merge : file.merges) merges_.add(merge.left, merge.right, merge.result);
}

void WordEncoder::append(std::string_view word, std::vector<int32_t>& ids) const {
  if (ignore_merges_) {
    if (auto const found = ids_.find(std::string(word)); found != ids_.end()) return ids.push_back(found->second);
  }
  thread_local std::vector<int32_t> symbols;
  symbols.clear();
  byte_level_ ? add_bytes(word, symbols) : add_characters(word, symbols);
  merges_.apply(symbols);
  ids.insert(ids.end(), symbols.begin(), symbols.end());
}

void WordEncoder::add_bytes(std::string_view word, std::vector<int32_t>& symbols) const {
  bool after_unknown = false;
  for (char const byte : word) {
    int32_t const id = bytes_[static_cast<unsigned char>(byte)];
    bool const fused = after_unknown && fuse_unknown_;
    if (id >= 0)
      symbols.push_back(id);
    else if (unknown_ >= 0 && !fused)
      symbols.push_back(unknown_);
    after_unknown = id < 0;
  }
}

void WordEncoder::add_characters(std::string_view word, std::vector<int32_t>& symbols) const {
  for (size_t length = 0; !word.empty(); word.remove_prefix(length)) {
    length = std::max<size_t>(1, utf8_length(word));
    std::string_view const character = word.substr(0, length);
    if (auto const found = ids_.find(std::string(character)); found != ids_.end())
      symbols.push_back(found->second);
    else
      for (char const byte : character) symbols.push_back(bytes_[static_cast<unsigned char>(byte)]);
  }
}

}  // namespace isobath
