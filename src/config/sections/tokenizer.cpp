#include "config/sections/tokenizer.h"

#include <system_error>

#include "config/row.h"
#include "config/sections/sections.h"
#include "config/values.h"
#include "core/files.h"

namespace isobath {

std::vector<ConfigField> tokenizer_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(tokenizer.kind), text, identity,
        "bpe, byte, or the path of a tokenizer: a tokenizer.model, a tokenizer.json or its folder, a .gguf.")
          .names_paths({"bpe", "byte"}),
      R(KEY(tokenizer.vocab_size), count, identity, "Size of a bpe vocabulary trained on the text.").between(300, 1 << 20),
      R(KEY(tokenizer.train_bytes), count, identity, "Bytes of text the bpe is trained on at most.").at_least(1024),
  };
}

std::string why_no_tokenizer(std::string const& kind, fs::path const& config_file) {
  if (kind == "bpe" || kind == "byte") return {};
  fs::path const path = expand_user(kind);
  bool const is_path = kind.find('/') != std::string::npos || path.has_extension();
  std::error_code error;
  if (!is_path && !fs::exists(kind, error)) {
    std::string const near = nearest(kind, {"bpe", "byte"});
    return "'" + kind + "' is not bpe, byte or the path of a tokenizer" + (near.empty() ? "" : " (did you mean '" + near + "'?)");
  }
  // A checkpoint carries its tokenizer beside its configuration, and may have moved away from the original.
  bool const is_carried = !config_file.empty() && fs::exists(config_file.parent_path() / "tokenizer.model", error);
  return is_carried || fs::is_regular_file(path, error) || fs::is_directory(path, error) ? "" : "no such file: " + kind;
}

}  // namespace isobath
