#include <sentencepiece_trainer.h>

#include <algorithm>
#include <string>
#include <unordered_map>

#include "core/error.h"
#include "data/bpe_tokenizer.h"
#include "data/utf8.h"

namespace isobath {
namespace {

constexpr int64_t fixed_pieces = 258;  // unknown, document end, 256 bytes
constexpr size_t longest_sentence = 4096;
constexpr double wanted_coverage = 0.9995;

// Lines with the newlines that close them, so that no piece goes on after a newline; cut where sentencepiece has no answer (NUL,
// malformed UTF-8, U+2581, its mark for a space, and U+2585, its mark for unknown). Also counts the characters.
class Sentences : public sentencepiece::SentenceIterator {
 public:
  explicit Sentences(std::vector<std::string> const& texts) {
    for (std::string const& text : texts) add(text);
  }
  bool done() const override { return next_ == sentences_.size(); }
  void Next() override { ++next_; }
  std::string const& value() const override { return sentences_[next_]; }
  sentencepiece::util::Status status() const override { return {}; }

  int64_t characters() const { return characters_; }
  // Share of the text that its `most` commonest characters make up, at most wanted_coverage.
  double coverage(size_t most) const {
    std::vector<int64_t> numbers;
    for (auto const& [character, number] : counts_) numbers.push_back(number);
    std::sort(numbers.rbegin(), numbers.rend());
    int64_t covered = 0;
    for (size_t i = 0; i < std::min(most, numbers.size()); ++i) covered += numbers[i];
    return numbers.size() <= most ? wanted_coverage : std::min(wanted_coverage, static_cast<double>(covered) / static_cast<double>(characters_));
  }

 private:
  void add(std::string_view text) {
    std::string sentence;
    auto const flush = [&] {
      if (!sentence.empty()) sentences_.push_back(std::move(sentence));
      sentence.clear();
    };
    for (size_t i = 0, length = 0; i < text.size(); i += std::max<size_t>(length, 1)) {
      length = utf8_length(text.substr(i));
      std::string_view const character = text.substr(i, length);
      if (length == 0 || character[0] == '\0' || character == "\xe2\x96\x81" || character == "\xe2\x96\x85") {
        flush();
        continue;
      }
      bool const line_over = !sentence.empty() && sentence.back() == '\n' && character[0] != '\n';
      if (line_over || sentence.size() + length > longest_sentence) flush();
      sentence += character;
      if (character != " " && character != "\t") {
        uint32_t key = 0;
        for (char const byte : character) key = key << 8 | static_cast<unsigned char>(byte);
        ++counts_[key];
        ++characters_;
      }
    }
    flush();
  }

  std::vector<std::string> sentences_;
  std::unordered_map<uint32_t, int64_t> counts_;
  int64_t characters_ = 0;
  size_t next_ = 0;
};

[[noreturn]] void refuse(int64_t vocab_size, std::string const& why) {
  throw Error(ExitCode::data, "cannot train a tokenizer of tokenizer.vocab_size " + std::to_string(vocab_size) + ": " + why +
                                  ", or use tokenizer.kind: byte");
}

}  // namespace

std::unique_ptr<Tokenizer> train_bpe(std::vector<std::string> const& texts, int64_t vocab_size) {
  int64_t const room = vocab_size - fixed_pieces;
  if (room < 8) refuse(vocab_size, "bytes and control pieces alone take " + std::to_string(fixed_pieces) + "; choose at least 266");
  Sentences sentences(texts);
  if (sentences.characters() == 0) refuse(vocab_size, "there is no text to train it on");
  // At most half of the room for single characters; rarer ones are spelled in bytes.
  double const coverage = sentences.coverage(static_cast<size_t>(room / 2));
  std::unordered_map<std::string, std::string> const settings{
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocab_size)},
      {"character_coverage", std::to_string(coverage)},
      {"byte_fallback", "true"},
      {"normalization_rule_name", "identity"},
      {"add_dummy_prefix", "false"},
      {"remove_extra_whitespaces", "false"},
      {"allow_whitespace_only_pieces", "true"},
      {"split_digits", "true"},
      {"unk_id", "0"},
      {"eos_id", "1"},
      {"bos_id", "-1"},
      {"pad_id", "-1"},
      {"num_threads", "1"},
      {"max_sentence_length", std::to_string(longest_sentence + 4)},
      {"minloglevel", "2"},
  };
  std::string model;
  auto const status = sentencepiece::SentencePieceTrainer::Train(settings, &sentences, &model);
  if (!status.ok()) {
    std::string const why = status.ToString();
    bool const too_high = why.find("too high") != std::string::npos;
    refuse(vocab_size, too_high ? "the " + std::to_string(sentences.characters()) + " characters of text hold too few different pieces; choose a smaller one"
                                : "sentencepiece says: " + why);
  }
  auto tokenizer = bpe_tokenizer(model);
  if (tokenizer->vocab_size() != vocab_size) refuse(vocab_size, "the text yields only " + std::to_string(tokenizer->vocab_size()) + " pieces");
  return tokenizer;
}

}  // namespace isobath
