#pragma once
// A regular expression of a pre-tokenizer. tokenizer.json has Oniguruma's syntax; PCRE2 runs it.

#include <memory>
#include <string>
#include <string_view>

namespace isobath {

class Pattern {
 public:
  explicit Pattern(std::string const& text);  // throws Error(data) for what Oniguruma and PCRE2 do not read alike
  ~Pattern();
  Pattern(Pattern&&) noexcept;
  std::string const& text() const { return text_; }
  // The first match at or behind `from`, which is never empty; false when there is none. `text` is valid UTF-8. Thread-safe.
  bool find(std::string_view text, size_t from, size_t& begin, size_t& end) const;

 private:
  struct Compiled;
  std::string text_;
  std::unique_ptr<Compiled> compiled_;
};

// Patterns of well-known tokenizers. Between an ASCII letter and another ASCII character behind it each of them ends a match, and finds in
// the text on either side what it finds there without the other side.
constexpr char const* gpt2_pattern = R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr char const* llama3_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char const* qwen2_pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char const* digit_pattern = R"(\p{N})";
constexpr char const* digits_pattern = R"(\p{N}+)";

bool is_well_known(Pattern const& pattern);

}  // namespace isobath
