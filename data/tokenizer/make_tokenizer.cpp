#include "data/tokenizer/make_tokenizer.h"

#include <chrono>

#include "core/files.h"
#include "core/log.h"
#include "core/units.h"
#include "data/tokenizer/bpe_tokenizer.h"

namespace isobath {

std::unique_ptr<Tokenizer> make_tokenizer(TokenizerConfig const& config, std::function<std::vector<std::string>()> const& sample) {
  if (config.is_byte()) return byte_tokenizer();
  if (!config.is_trained()) return load_tokenizer(expand_user(config.kind));
  auto const begin = std::chrono::steady_clock::now();
  std::vector<std::string> const texts = sample();
  int64_t bytes = 0;
  for (std::string const& text : texts) bytes += static_cast<int64_t>(text.size());
  log_info("training a tokenizer of " + std::to_string(config.vocab_size) + " pieces on " + format_bytes(static_cast<double>(bytes)));
  auto tokenizer = train_bpe(texts, config.vocab_size);
  log_info("tokenizer trained in " + format_seconds(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()));
  return tokenizer;
}

}  // namespace isobath
