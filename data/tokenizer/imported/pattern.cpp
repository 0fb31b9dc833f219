#define PCRE2_CODE_UNIT_WIDTH 8
#include "data/tokenizer/imported/pattern.h"

#include <pcre2.h>

#include <algorithm>
#include <cstdint>

#include "core/error.h"

namespace isobath {
namespace {

// Unicode's White_Space, Oniguruma's \s. PCRE2's has U+180E, too.
constexpr char const* white_space = R"(\t-\r \x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000})";

[[noreturn]] void refuse_pattern(std::string const& pattern, std::string const& what) {
  throw Error(ExitCode::data, "unusable tokenizer.json: " + what + " in the pattern " + pattern + " is not supported");
}

bool is_ascii_letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }

// Rewrites a pattern from Oniguruma's syntax into PCRE2's. Only what both are known to read alike passes.
class Translation {
 public:
  explicit Translation(std::string const& pattern) : pattern_(pattern) {
    while (at_ < pattern_.size()) in_class_ ? class_character() : character();
    if (in_class_) refuse_pattern(pattern_, "a class without its end");
  }
  std::string result;

 private:
  bool rest_starts(std::string_view text) const { return std::string_view(pattern_).substr(at_).starts_with(text); }
  void copy(size_t count) {
    result += pattern_.substr(at_, count);
    at_ += count;
  }

  void character() {
    char const c = pattern_[at_];
    if (c == '\\') return escape();
    if (c == '^' || c == '$' || c == '.' || rest_starts("{,") || rest_starts("}+"))
      refuse_pattern(pattern_, "'" + pattern_.substr(at_, 2) + "'");
    if (rest_starts("(?")) return group();
    if (c == '[') {
      in_class_ = true;
      copy(pattern_.compare(at_, 2, "[^") == 0 ? 2 : 1);
      if (rest_starts("]")) refuse_pattern(pattern_, "an empty class");
      return;
    }
    copy(1);
  }

  void class_character() {
    if (pattern_[at_] == '\\') return escape();
    if (rest_starts("[") || rest_starts("&&")) refuse_pattern(pattern_, "a class in a class");
    in_class_ = pattern_[at_] != ']';
    copy(1);
  }

  void group() {
    for (std::string_view const known : {"(?:", "(?i:", "(?!", "(?=", "(?<!", "(?<="})
      if (rest_starts(known)) return copy(known.size());
    refuse_pattern(pattern_, "'" + pattern_.substr(at_, 3) + "'");
  }

  void escape() {
    char const c = at_ + 1 < pattern_.size() ? pattern_[at_ + 1] : '\0';
    if (c == 's' || (c == 'S' && !in_class_)) {
      result += in_class_ ? white_space : std::string(c == 's' ? "[" : "[^") + white_space + "]";
      at_ += 2;
    } else if (c == 'p' || c == 'P') {
      category();
    } else if (c == 'r' || c == 'n' || c == 't' || c == 'f' || c == 'd' ||
               (c > ' ' && c <= '~' && !is_ascii_letter(c) && (c < '0' || c > '9'))) {
      copy(2);
    } else {
      refuse_pattern(pattern_, "'" + pattern_.substr(at_, 2) + "'");
    }
  }

  void category() {  // \p{L}, \P{Nd}: a letter or two. Longer names are scripts and properties, whose meanings differ.
    size_t const end = pattern_.find('}', at_);
    size_t const letters = end == std::string::npos || end < at_ + 3 ? 0 : end - at_ - 3;
    bool const known =
        pattern_[at_ + 2] == '{' && letters >= 1 && letters <= 2 && std::all_of(&pattern_[at_ + 3], &pattern_[end], is_ascii_letter);
    if (!known) refuse_pattern(pattern_, "'" + pattern_.substr(at_, end - at_ + 1) + "'");
    copy(end - at_ + 1);
  }

  std::string const& pattern_;
  size_t at_ = 0;
  bool in_class_ = false;
};

// What a thread needs to run patterns.
struct Runner {
  pcre2_match_context* context = pcre2_match_context_create(nullptr);
  pcre2_jit_stack* stack = pcre2_jit_stack_create(32 << 10, 16 << 20, nullptr);
  pcre2_match_data* data = pcre2_match_data_create(1, nullptr);
  Runner() {
    pcre2_jit_stack_assign(context, nullptr, stack);
    pcre2_set_match_limit(context, UINT32_MAX);  // long runs of white_space take many steps
  }
  ~Runner() {
    pcre2_match_data_free(data);
    pcre2_jit_stack_free(stack);
    pcre2_match_context_free(context);
  }
};

}  // namespace

struct Pattern::Compiled {
  pcre2_code* code = nullptr;
  decltype(&pcre2_match) run = pcre2_match;
  ~Compiled() { pcre2_code_free(code); }
};

Pattern::Pattern(std::string const& text) : text_(text), compiled_(std::make_unique<Compiled>()) {
  std::string const translated = Translation(text).result;
  int error = 0;
  size_t where = 0;
  compiled_->code =
      pcre2_compile(reinterpret_cast<PCRE2_SPTR>(translated.data()), translated.size(), PCRE2_UTF | PCRE2_UCP, &error, &where, nullptr);
  if (!compiled_->code) {
    unsigned char why[200] = "";
    pcre2_get_error_message(error, why, sizeof why);
    refuse_pattern(text, "'" + translated.substr(std::min(where, translated.size())) + "' (" + reinterpret_cast<char const*>(why) + ")");
  }
  if (pcre2_jit_compile(compiled_->code, PCRE2_JIT_COMPLETE) == 0) compiled_->run = pcre2_jit_match;
  Runner const runner;
  if (compiled_->run(compiled_->code, reinterpret_cast<PCRE2_SPTR>(""), 0, 0, 0, runner.data, runner.context) >= 0)
    refuse_pattern(text, "a match of nothing");
}

Pattern::~Pattern() = default;
Pattern::Pattern(Pattern&&) noexcept = default;

bool Pattern::find(std::string_view text, size_t from, size_t& begin, size_t& end) const {
  thread_local Runner const runner;
  int const result = compiled_->run(compiled_->code, reinterpret_cast<PCRE2_SPTR>(text.data()), text.size(), from,
                                    PCRE2_NO_UTF_CHECK | PCRE2_NOTEMPTY, runner.data, runner.context);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result < 0)
    throw Error(ExitCode::data,
                "the tokenizer's pattern " + text_ + " needs too much memory on a text (PCRE2 error " + std::to_string(result) + ")");
  size_t const* const match = pcre2_get_ovector_pointer(runner.data);
  begin = match[0];
  end = match[1];
  return true;
}

bool is_well_known(Pattern const& pattern) {
  for (char const* known : {gpt2_pattern, llama3_pattern, qwen2_pattern, digit_pattern, digits_pattern})
    if (pattern.text() == known) return true;
  return false;
}

}  // namespace isobath
