#include "data/tokenizer/bpe_tokenizer.h"

#include <sentencepiece_processor.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <charconv>

#include "core/error.h"
#include "core/files.h"
#include "core/utf8.h"
#include "data/tokenizer/pieces.h"
#include "data/tokenizer/word_borders.h"
#include "data/tokenizer/word_cache.h"

namespace isobath {
namespace {

constexpr std::string_view space_mark = "\xe2\x96\x81";  // U+2581, what sentencepiece writes for a space
constexpr size_t longest_word = 4096;                    // sentencepiece needs n log n time for a word of n bytes

[[noreturn]] void refuse(std::string const& why) { throw Error(ExitCode::data, "unusable tokenizer model: " + why); }

bool is_mark(std::string_view text) { return text.starts_with(space_mark); }

class BpeTokenizer : public Tokenizer {
 public:
  explicit BpeTokenizer(std::string_view model) : model_(model) {
    auto const status = processor_.LoadFromSerializedProto(model_);
    if (!status.ok()) refuse("it is no sentencepiece model");
    byte_ids_.fill(-1);
    pieces_.resize(static_cast<size_t>(processor_.GetPieceSize()));
    for (int id = 0; id < processor_.GetPieceSize(); ++id) read_piece(id);
    document_end_ = processor_.eos_id();
    check_requirements();
  }

  std::vector<int32_t> encode(std::string_view bytes) const override {
    thread_local WordCache cache;
    cache.belong_to(owner_);
    std::vector<int32_t> ids;
    ids.reserve(bytes.size() / 2);
    for (std::string_view part : split_for_encoding(bytes)) {
      while (!part.empty()) {
        std::string_view const word = part.substr(0, word_length(part));
        part.remove_prefix(word.size());
        append_word(word, cache, ids);
      }
    }
    return ids;
  }

  std::string const& piece(int32_t id) const override { return pieces_.at(static_cast<size_t>(id)); }
  int64_t vocab_size() const override { return static_cast<int64_t>(pieces_.size()); }
  int32_t document_end() const override { return document_end_; }
  std::string fingerprint() const override { return hex(checksum(std::as_bytes(std::span(model_)))); }
  std::string kind() const override { return "bpe"; }
  std::string serialized() const override { return model_; }

 private:
  // Refuses a model that does not decode every text to the same bytes, naming all the sentencepiece training flags it needs.
  void check_requirements() const {
    std::string faults, flags;
    auto const add = [&](std::string const& fault, std::string const& flag) {
      faults += (faults.empty() ? "" : "; ") + fault;
      flags += (flag.empty() ? "" : " ") + flag;
    };
    auto const changes = [&](std::string_view text) {
      std::vector<int> ids;
      return !processor_.Encode({text.data(), text.size()}, &ids).ok() || join(ids) != text;
    };
    auto const missing = std::find_if(byte_ids_.begin(), byte_ids_.end(), [](int32_t id) { return id < 0; });
    if (missing != byte_ids_.end()) add("it has no piece for byte " + std::to_string(missing - byte_ids_.begin()), "--byte_fallback=true");
    if (document_end_ < 0) add("it has no end-of-sentence piece, which closes documents here", "--eos_id=2");
    if (changes("a")) add("it puts a space before every text", "--add_dummy_prefix=false");
    if (missing == byte_ids_.end() && !changes("a")) {
      if (changes(" a  a ")) add("it removes spaces", "--remove_extra_whitespaces=false");
      if (changes("a\t\xef\xbc\xa1")) add("it rewrites characters (a full-width A, a tab)", "--normalization_rule_name=identity");
    }
    if (!faults.empty()) refuse(faults + "; train it with" + flags + " (docs/data.md lists what a tokenizer needs)");
  }

  void read_piece(int id) {
    std::string const& piece = processor_.IdToPiece(id);
    if (processor_.IsControl(id) || processor_.IsUnknown(id)) return;  // they stand for no bytes
    if (processor_.IsByte(id)) {                                       // "<0x41>"
      unsigned byte = 0;
      if (piece.size() != 6 || std::from_chars(piece.data() + 3, piece.data() + 5, byte, 16).ec != std::errc{}) {
        refuse("'" + piece + "' is no byte piece");
      }
      byte_ids_[byte] = id;
      pieces_[static_cast<size_t>(id)] = std::string(1, static_cast<char>(byte));
      return;
    }
    pieces_[static_cast<size_t>(id)] = spaces_for_marks(piece);
    borders_.respect(pieces_[static_cast<size_t>(id)]);
  }

  size_t word_length(std::string_view text) const {
    size_t i = 1;
    while (i < text.size() && !borders_.between(text[i - 1], text[i])) ++i;
    return i <= longest_word ? i : utf8_cut(text, longest_word);
  }

  void append_word(std::string_view word, WordCache& cache, std::vector<int32_t>& ids) const {
    bool const cached = word.size() <= WordCache::longest_word;
    if (cached) {
      if (auto const* known = cache.find(word)) {
        ids.insert(ids.end(), known->begin(), known->end());
        return;
      }
    }
    size_t const before = ids.size();
    if (!append_clean(word, ids)) append_unclean(word, ids);
    if (cached) cache.insert(word, std::span<int32_t const>(ids).subspan(before));
  }

  // Appends sentencepiece's encoding and returns true if it decodes to the same bytes.
  bool append_clean(std::string_view text, std::vector<int32_t>& ids) const {
    std::vector<int> found;
    if (!processor_.Encode({text.data(), text.size()}, &found).ok() || join(found) != text) return false;
    ids.insert(ids.end(), found.begin(), found.end());
    return true;
  }

  // Encodes what sentencepiece would lose (U+2581, NUL, malformed UTF-8) as byte pieces, and the text between as usual.
  void append_unclean(std::string_view text, std::vector<int32_t>& ids) const {
    auto const append_bytes = [&](std::string_view bytes) {
      for (char const byte : bytes) ids.push_back(byte_ids_[static_cast<unsigned char>(byte)]);
    };
    while (!text.empty()) {
      size_t clean = 0;
      while (clean < text.size() && text[clean] != '\0' && !is_mark(text.substr(clean))) {
        size_t const length = utf8_length(text.substr(clean));
        if (length == 0) break;
        clean += length;
      }
      std::string_view const before = text.substr(0, clean);
      if (!before.empty() && !append_clean(before, ids)) append_bytes(before);
      text.remove_prefix(clean);
      std::string_view const lost = text.substr(0, is_mark(text) ? space_mark.size() : 1);
      append_bytes(lost);
      text.remove_prefix(lost.size());
    }
  }

  std::string join(std::vector<int> const& ids) const {
    std::string bytes;
    for (int const id : ids) bytes += pieces_[static_cast<size_t>(id)];
    return bytes;
  }

  static uint64_t next_owner() {
    static std::atomic<uint64_t> last{0};
    return ++last;
  }

  uint64_t owner_ = next_owner();  // identifies this tokenizer to the word caches of all threads
  std::string model_;
  sentencepiece::SentencePieceProcessor processor_;
  std::vector<std::string> pieces_;
  std::array<int32_t, 256> byte_ids_{};
  int32_t document_end_ = -1;
  WordBorders borders_;
};

}  // namespace

std::unique_ptr<Tokenizer> bpe_tokenizer(std::string_view model) {
  if (model.empty()) refuse("it is empty");
  return std::make_unique<BpeTokenizer>(model);
}

}  // namespace isobath
