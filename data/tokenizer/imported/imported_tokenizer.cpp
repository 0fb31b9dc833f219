#include "data/tokenizer/imported/imported_tokenizer.h"

#include <utf8proc.h>

#include <algorithm>
#include <atomic>
#include <charconv>
#include <cstdlib>
#include <utility>

#include "core/error.h"
#include "core/files.h"
#include "core/utf8.h"
#include "data/tokenizer/byte_level.h"
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/imported/pattern.h"
#include "data/tokenizer/imported/tokenizer_file.h"
#include "data/tokenizer/imported/word_encoder.h"
#include "data/tokenizer/pieces.h"
#include "data/tokenizer/word_borders.h"
#include "data/tokenizer/word_cache.h"

namespace isobath {
namespace {

// Valid UTF-8 in NFC.
std::string composed(std::string_view text) {
  utf8proc_uint8_t* made = nullptr;
  auto const length = utf8proc_map(reinterpret_cast<utf8proc_uint8_t const*>(text.data()), static_cast<utf8proc_ssize_t>(text.size()),
                                   &made, static_cast<utf8proc_option_t>(UTF8PROC_STABLE | UTF8PROC_COMPOSE));
  if (length < 0) throw Error(ExitCode::allocation, std::string("cannot normalize a text to NFC: ") + utf8proc_errmsg(length));
  std::string result(reinterpret_cast<char const*>(made), static_cast<size_t>(length));
  std::free(made);
  return result;
}

// Invalid UTF-8 stays as it is. A character below U+0300 never changes and combines with nothing before it, so only runs of others are
// normalized, each with the character before it.
std::string to_nfc(std::string_view text) {
  auto const starts_low = [](char c) { return static_cast<unsigned char>(c) < 0x80 || (c >= '\xC2' && c < '\xCC'); };
  auto const starts_high = [](char c) { return static_cast<unsigned char>(c) >= 0xCC; };
  std::string result;
  for (;;) {
    auto const first = std::find_if(text.begin(), text.end(), starts_high);
    if (first == text.end()) return result.append(text);
    auto begin = first;
    while (begin != text.begin() && (begin == first || !starts_low(*begin))) --begin;
    result.append(text.begin(), begin);
    text.remove_prefix(static_cast<size_t>(begin - text.begin()));
    auto const end = std::find_if(first, text.end(), starts_low);
    for (std::string_view run(begin, end); !run.empty();) {
      size_t const valid = utf8_prefix(run);
      if (valid > 0) result += composed(run.substr(0, valid));
      run.remove_prefix(valid);
      if (run.empty()) break;
      result += run[0];
      run.remove_prefix(1);
    }
    text.remove_prefix(static_cast<size_t>(end - text.begin()));
  }
}

// The byte that a token such as <0x41> stands for; -1 for other tokens.
int byte_of(std::string const& name) {
  int byte = -1;
  if (name.size() != 6 || !name.starts_with("<0x") || name.back() != '>') return -1;
  return std::from_chars(&name[3], &name[5], byte, 16).ptr == &name[5] ? byte : -1;
}

std::string piece_of(std::string const& name, bool byte_level) {
  if (byte_level) return byte_level_bytes(name).value_or(name);
  int const byte = byte_of(name);
  return byte >= 0 ? std::string(1, static_cast<char>(byte)) : spaces_for_marks(name);
}

std::vector<std::string> pieces_of(TokenizerFile const& file, ImportSettings const& settings) {
  std::vector<std::string> pieces(static_cast<size_t>(std::max(number_of_ids(file), settings.vocab_size)));
  for (auto const& [name, id] : file.vocabulary) pieces[static_cast<size_t>(id)] = piece_of(name, file.byte_level);
  for (AddedToken const& token : file.added) pieces[static_cast<size_t>(token.id)] = token.text;
  return pieces;
}

int32_t token_called(TokenizerFile const& file, std::string const& name) {  // -1: there is none
  for (AddedToken const& token : file.added)
    if (token.text == name) return token.id;
  auto const found = file.vocabulary.find(name);
  return found == file.vocabulary.end() ? -1 : found->second;
}

int32_t document_end_of(TokenizerFile const& file, ImportSettings const& settings, size_t ids) {
  if (settings.document_end.empty()) {
    if (settings.document_end_id < 0 || static_cast<size_t>(settings.document_end_id) >= ids)
      refuse_tokenizer_json("the token that ends a document has the id " + std::to_string(settings.document_end_id) + ", and there are " +
                            std::to_string(ids) + " ids");
    return settings.document_end_id;
  }
  int32_t const id = token_called(file, settings.document_end);
  if (id < 0) refuse_tokenizer_json("the token that ends a document, '" + settings.document_end + "', is not in it");
  return id;
}

std::vector<AddedToken> added_of(TokenizerFile const& file, bool normalized) {
  std::vector<AddedToken> tokens;
  for (AddedToken token : file.added) {
    if (token.normalized != normalized) continue;
    if (normalized) {  // looked for in normalized text, so normalized themselves
      if (file.nfc) token.text = to_nfc(token.text);
      if (file.mark_spaces) token.text = spaces_for_marks(token.text);
      if (file.prefix == Prefix::always) token.text.insert(0, " ");
    }
    tokens.push_back(token);
  }
  return tokens;
}

// In here a space stands for U+2581, too: the vocabularies that have U+2581 have no space.
class ImportedTokenizer : public Tokenizer {
 public:
  ImportedTokenizer(std::string_view serialized, TokenizerFile const& file, ImportSettings const& settings)
      : serialized_(serialized),
        fingerprint_(fingerprint_of(what_decides_ids(serialized))),
        pieces_(pieces_of(file, settings)),
        words_(file),
        added_(added_of(file, false), settings.split_special_tokens),
        normalized_added_(added_of(file, true), settings.split_special_tokens),
        byte_level_(file.byte_level),
        nfc_(file.nfc),
        mark_spaces_(file.mark_spaces),
        split_words_(file.split_words),
        prefix_(file.prefix),
        document_end_(document_end_of(file, settings, pieces_.size())) {
    for (std::string const& text : file.patterns) patterns_.emplace_back(text);
    for (auto const& merge : file.merges) borders_.respect(pieces_[static_cast<size_t>(merge.result)]);
    pieces_[static_cast<size_t>(document_end_)].clear();
    int32_t const named = token_called(file, settings.text_start), put_before = token_called(file, file.put_before);
    text_start_ = named >= 0 ? named : put_before >= 0 ? put_before : document_end_;
    starts_texts_ = put_before >= 0 && put_before == text_start_;
    known_patterns_ = !patterns_.empty() && std::all_of(patterns_.begin(), patterns_.end(), is_well_known);
    can_split_ = byte_level_ ? known_patterns_ : borders_.between('a', ' ');
    for (AddedToken const& token : file.added) can_split_ &= token.text.find(' ', 1) == std::string::npos && !token.rstrip;
  }

  std::vector<int32_t> encode(std::string_view bytes) const override {
    thread_local WordCache cache;
    cache.belong_to(owner_);
    std::vector<int32_t> ids;
    ids.reserve(bytes.size() / 3);
    for (size_t at = 0; at < bytes.size();) {
      AddedTokens::Found const found = added_.find(bytes, at);
      if (found.begin > at) append_text(bytes.substr(at, found.begin - at), at == 0, cache, ids);
      if (found.token) ids.push_back(found.token->id);
      at = found.end;
    }
    return ids;
  }

  // A cut comes before a space between two ASCII letters; if a space is put before every text, it replaces that one.
  std::vector<std::string_view> split_for_encoding(std::string_view text) const override {
    std::vector<std::string_view> parts;
    while (can_split_ && text.size() > largest_part) {
      size_t const cut = cut_near(text, largest_part);
      if (cut == 0) break;
      parts.push_back(text.substr(0, cut));
      text.remove_prefix(cut + (prefix_ == Prefix::always));
    }
    if (!text.empty()) parts.push_back(text);
    return parts;
  }

  std::string const& piece(int32_t id) const override { return pieces_.at(static_cast<size_t>(id)); }
  int64_t vocab_size() const override { return static_cast<int64_t>(pieces_.size()); }
  int32_t document_end() const override { return document_end_; }
  int32_t text_start() const override { return text_start_; }
  bool starts_texts() const override { return starts_texts_; }
  std::string fingerprint() const override { return fingerprint_; }
  std::string kind() const override { return "hf-bpe"; }
  std::string serialized() const override { return serialized_; }

 private:
  static std::string fingerprint_of(std::string const& content) { return hex(checksum(std::as_bytes(std::span(content)))); }
  static bool is_cut(std::string_view text, size_t i) {
    return i > 0 && i + 1 < text.size() && text[i] == ' ' && WordBorders::is_letter(text[i - 1]) && WordBorders::is_letter(text[i + 1]);
  }
  // The first cut behind `from`; 0: none.
  static size_t next_cut(std::string_view text, size_t from) {
    for (size_t at = text.find(' ', from + 1); at != std::string_view::npos; at = text.find(' ', at + 1))
      if (is_cut(text, at)) return at;
    return 0;
  }
  // The last cut up to `limit`, else the first one behind it; 0: none.
  static size_t cut_near(std::string_view text, size_t limit) {
    for (size_t cut = limit; cut > 0; --cut)
      if (is_cut(text, cut)) return cut;
    return next_cut(text, limit);
  }

  // Text without added tokens, but for those that are looked for once it is normalized.
  void append_text(std::string_view text, bool first, WordCache& cache, std::vector<int32_t>& ids) const {
    std::string changed;
    auto const change = [&](std::string made) { text = changed = std::move(made); };
    if (nfc_) change(to_nfc(text));
    if (prefix_ == Prefix::always) change(" " + std::string(text));
    if (mark_spaces_) change(spaces_for_marks(text));
    for (size_t at = 0; at < text.size();) {
      AddedTokens::Found const found = normalized_added_.find(text, at);
      if (found.begin > at) append_piece(text.substr(at, found.begin - at), first && at == 0, cache, ids);
      if (found.token) ids.push_back(found.token->id);
      at = found.end;
    }
  }

  void append_piece(std::string_view text, bool first, WordCache& cache, std::vector<int32_t>& ids) const {
    std::string changed;
    if (!byte_level_ && !mark_spaces_) text = changed = spaces_for_marks(text);
    bool const may_prefix = prefix_ == Prefix::unless_space || (prefix_ == Prefix::first_unless_space && first);
    if (may_prefix && text[0] != ' ') text = changed = " " + std::string(text);
    while (!text.empty()) {
      size_t const length = byte_level_ ? utf8_prefix(text) : word_length(text);
      if (byte_level_ && length > 0)
        append_phrases(text.substr(0, length), cache, ids);
      else
        append_word(text.substr(0, std::max<size_t>(1, length)), cache, ids);  // an invalid byte is a word of its own
      text.remove_prefix(std::max<size_t>(1, length));
    }
  }

  // Up to the first border that no match of a well-known pattern reaches over (pattern.h).
  static size_t phrase_length(std::string_view text) {
    auto const is_border = [&](size_t i) {
      return WordBorders::is_letter(text[i - 1]) && static_cast<unsigned char>(text[i]) < 0x80 && !WordBorders::is_letter(text[i]);
    };
    size_t i = 1;
    while (i < text.size() && !is_border(i)) ++i;
    return i;
  }

  void append_phrases(std::string_view text, WordCache& cache, std::vector<int32_t>& ids) const {
    if (!known_patterns_) return cut_by_patterns(text, 0, [&](std::string_view word) { append_word(word, cache, ids); });
    while (!text.empty()) {
      std::string_view const phrase = text.substr(0, phrase_length(text));
      append_cached(phrase, cache, ids, [&] { cut_by_patterns(phrase, 0, [&](std::string_view word) { words_.append(word, ids); }); });
      text.remove_prefix(phrase.size());
    }
  }

  // Matches and what lies between them are cut by the next pattern; what the last one leaves is a word.
  template <typename Use>
  void cut_by_patterns(std::string_view text, size_t next, Use const& use) const {
    if (next == patterns_.size()) return use(text);
    size_t at = 0, begin = 0, end = 0;
    while (at < text.size()) {
      if (!patterns_[next].find(text, at, begin, end)) begin = end = text.size();
      if (begin > at) cut_by_patterns(text.substr(at, begin - at), next + 1, use);
      if (end > begin) cut_by_patterns(text.substr(begin, end - begin), next + 1, use);
      at = end;
    }
  }

  // Up to a border that no merge reaches over.
  size_t word_length(std::string_view text) const {
    size_t i = 1;
    while (i < text.size() && !borders_.between(text[i - 1], text[i]) && !(split_words_ && text[i] == ' ')) ++i;
    return i;
  }

  void append_word(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
    append_cached(word, cache, ids, [&] { words_.append(word, ids); });
  }

  // Appends what the cache has for `text`, or else what `append` appends, which is then cached.
  template <typename Append>
  static void append_cached(std::string_view text, WordCache& cache, std::vector<int32_t>& ids, Append const& append) {
    if (text.size() > WordCache::longest_word) return append();
    if (auto const* known = cache.find(text)) {
      ids.insert(ids.end(), known->begin(), known->end());
      return;
    }
    size_t const before = ids.size();
    append();
    cache.insert(text, std::span<int32_t const>(ids).subspan(before));
  }

  static uint64_t next_owner() {
    static std::atomic<uint64_t> last{0};
    return ++last;
  }

  uint64_t owner_ = next_owner();  // identifies this tokenizer to the word caches of all threads
  std::string serialized_, fingerprint_;
  std::vector<std::string> pieces_;
  WordEncoder words_;
  AddedTokens added_, normalized_added_;
  bool byte_level_, nfc_, mark_spaces_, split_words_;
  Prefix prefix_;
  std::vector<Pattern> patterns_;
  WordBorders borders_;
  int32_t document_end_, text_start_ = -1;
  bool starts_texts_ = false;
  bool known_patterns_ = false, can_split_ = false;
};

}  // namespace

std::unique_ptr<Tokenizer> imported_tokenizer(std::string_view serialized) {
  auto const [json, settings] = without_settings(serialized);
  return std::make_unique<ImportedTokenizer>(serialized, read_tokenizer_file(json), settings);
}

}  // namespace isobath
