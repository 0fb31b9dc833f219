#include "trainer/evaluate/sample.h"

namespace isobath {

std::vector<int32_t> prompt_ids(Tokenizer const& tokenizer, std::string const& prompt) {
  std::vector<int32_t> ids = with_text_start(tokenizer, tokenizer.encode(prompt));
  if (ids.empty()) ids.push_back(tokenizer.document_end());
  return ids;
}

std::string sample_text(LanguageModel& model, Tokenizer const& tokenizer, std::string const& prompt, GenerateSettings const& settings) {
  return prompt + tokenizer.decode(generate(model, {prompt_ids(tokenizer, prompt)}, settings).texts[0]);
}

}  // namespace isobath
