#include <sentencepiece_trainer.h>

#include <algorithm>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <utility>

#include "core/error.h"
#include "core/stop.h"
#include "core/utf8.h"
#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/word_borders.h"

namespace isobath {
namespace {

constexpr int64_t fixed_pieces = 258;  // unknown, document end, 256 bytes
constexpr size_t longest_training_word = 4096;
constexpr double wanted_coverage = 0.9995;

// Counts the words of the texts for sentencepiece. Its pieces neither mix scripts nor go on into a space, so cutting words there changes
// nothing, and counting them here is several times faster. Cutting after newlines keeps pieces inside a line. Words also end at what
// sentencepiece cannot handle: tabs (its own separator), NUL, malformed UTF-8, U+2581 (its mark for a space) and U+2585 (its mark for
// unknown).
class Words : public sentencepiece::SentenceIterator {
 public:
  // Keeps at most `most` different characters. Words are cut at the rarer ones, which the tokenizer then encodes as bytes.
  Words(std::vector<std::string> const& texts, size_t most) {
    Counts all;
    for (std::string const& text : texts) count(text, all);
    std::unordered_set<std::string_view> const common = common_characters(all, most);
    Counts kept;
    for (auto const& [word, number] : all) keep(word, number, common, kept);
    words_.assign(kept.begin(), kept.end());
    std::sort(words_.begin(), words_.end());
    render();
  }
  bool done() const override { return next_ == words_.size(); }
  void Next() override {
    ++next_;
    render();
  }
  std::string const& value() const override { return row_; }
  sentencepiece::util::Status status() const override { return {}; }

  int64_t characters() const { return characters_; }

 private:
  using Counts = std::unordered_map<std::string, int64_t>;

  void count(std::string_view text, Counts& counts) {
    WordBorders const borders;
    size_t begin = 0;
    auto const cut = [&](size_t end) {
      if (end > begin) ++counts[std::string(text.substr(begin, end - begin))];
      begin = end;
    };
    for (size_t i = 0, length = 0; i < text.size(); i += std::max<size_t>(length, 1)) {
      std::string_view const rest = text.substr(i);
      length = utf8_length(rest);
      if (length == 0 || rest[0] == '\0' || rest[0] == '\t' || rest.starts_with("\xe2\x96\x81") || rest.starts_with("\xe2\x96\x85")) {
        cut(i);
        begin = i + std::max<size_t>(length, 1);
        continue;
      }
      if (i > begin && (borders.between(text[i - 1], rest[0]) || i - begin >= longest_training_word)) cut(i);
      characters_ += rest[0] != ' ';
    }
    cut(text.size());
  }

  // The most frequent characters that together make up wanted_coverage of the text, as views into `counts`.
  std::unordered_set<std::string_view> common_characters(Counts const& counts, size_t most) const {
    std::unordered_map<std::string_view, int64_t> numbers;
    for (auto const& [word, number] : counts) {
      for_characters(word, [&, n = number](std::string_view character) { numbers[character] += n; });
    }
    numbers.erase(" ");
    std::vector<std::pair<int64_t, std::string_view>> order;
    for (auto const& [character, number] : numbers) order.emplace_back(-number, character);
    std::sort(order.begin(), order.end());
    std::unordered_set<std::string_view> common{" "};
    double const wanted = wanted_coverage * static_cast<double>(characters_);
    double covered = 0;
    for (auto const& [minus, character] : order) {
      if (covered >= wanted || common.size() > most) break;
      common.insert(character);
      covered -= static_cast<double>(minus);
    }
    return common;
  }

  static void keep(std::string const& word, int64_t number, std::unordered_set<std::string_view> const& common, Counts& kept) {
    std::string part;
    for_characters(word, [&](std::string_view character) {
      if (common.contains(character)) {
        part += character;
      } else if (!part.empty()) {
        kept[std::exchange(part, {})] += number;
      }
    });
    if (!part.empty()) kept[part] += number;
  }

  template <typename Use>
  static void for_characters(std::string_view word, Use const& use) {
    for (size_t length = 0; !word.empty(); word.remove_prefix(length)) use(word.substr(0, length = utf8_length(word)));
  }

  void render() {
    if (!done()) row_ = words_[next_].first + '\t' + std::to_string(words_[next_].second);
  }

  std::vector<std::pair<std::string, int64_t>> words_;
  int64_t characters_ = 0;
  size_t next_ = 0;
  std::string row_;
};

[[noreturn]] void refuse(int64_t vocab_size, std::string const& why) {
  throw Error(ExitCode::data, "cannot train a tokenizer of tokenizer.vocab_size " + std::to_string(vocab_size) + ": " + why +
                                  ", or use tokenizer.kind: byte");
}

}  // namespace

std::unique_ptr<Tokenizer> train_bpe(std::vector<std::string> const& texts, int64_t vocab_size) {
  Activity const activity("training the tokenizer", Activity::Loses::nothing);
  int64_t const room = vocab_size - fixed_pieces;
  if (room < 8) refuse(vocab_size, "bytes and control pieces alone take " + std::to_string(fixed_pieces) + "; choose at least 266");
  Words words(texts, static_cast<size_t>(room / 2));
  if (words.characters() == 0) refuse(vocab_size, "there is no text to train it on");
  std::unordered_map<std::string, std::string> const settings{
      {"model_type", "bpe"},
      {"vocab_size", std::to_string(vocab_size)},
      {"character_coverage", "1.0"},
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
      {"input_format", "tsv"},
      {"max_sentence_length", std::to_string(longest_training_word + 32)},
      {"minloglevel", "2"},
  };
  std::string model;
  auto const status = sentencepiece::SentencePieceTrainer::Train(settings, &words, &model);
  if (!status.ok()) {
    std::string const why = status.ToString();
    bool const too_high = why.find("too high") != std::string::npos;
    refuse(vocab_size, too_high ? "the " + std::to_string(words.characters()) +
                                      " characters of text hold too few different pieces; choose a smaller one"
                                : "sentencepiece says: " + why);
  }
  auto tokenizer = bpe_tokenizer(model);
  if (tokenizer->vocab_size() != vocab_size)
    refuse(vocab_size, "the text yields only " + std::to_string(tokenizer->vocab_size()) + " pieces");
  return tokenizer;
}

}  // namespace isobath
