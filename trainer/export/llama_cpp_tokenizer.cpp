#include "trainer/export/llama_cpp_tokenizer.h"

#include "data/tokenizer/export.h"
#include "data/tokenizer/imported/byte_level_vocabulary.h"
#include "data/tokenizer/imported/gguf_tokenizer.h"
#include "data/tokenizer/imported/import_settings.h"

namespace isobath {
namespace {

uint32_t id_value(int64_t id) { return static_cast<uint32_t>(id); }

// Whether a token is put before a text; behind it, and as a space before it, never.
void say_what_is_added(Tokenizer const& tokenizer, GgufMetadata& metadata) {
  metadata.emplace_back("tokenizer.ggml.add_bos_token", tokenizer.starts_texts());
  for (char const* key : {"add_eos_token", "add_space_prefix"}) metadata.emplace_back("tokenizer.ggml." + std::string(key), false);
}

GgufTokenizer own_tokenizer(Tokenizer const& tokenizer) {
  LlamaVocabulary const vocabulary = llama_vocabulary(tokenizer);
  GgufMetadata metadata{{"tokenizer.ggml.model", std::string("llama")},
                        {"tokenizer.ggml.pre", std::string("default")},
                        {"tokenizer.ggml.tokens", gguf_array(vocabulary.tokens)},
                        {"tokenizer.ggml.scores", gguf_array(vocabulary.scores)},
                        {"tokenizer.ggml.token_type", gguf_array(vocabulary.types)},
                        {"tokenizer.ggml.eos_token_id", id_value(tokenizer.document_end())}};
  if (vocabulary.unknown >= 0) metadata.emplace_back("tokenizer.ggml.unknown_token_id", id_value(vocabulary.unknown));
  say_what_is_added(tokenizer, metadata);
  metadata.emplace_back("tokenizer." + std::string(split_special_key), true);
  return {metadata, {}};
}

GgufTokenizer byte_level_tokenizer(Tokenizer const& tokenizer) {
  ByteLevelVocabulary const vocabulary = byte_level_vocabulary(tokenizer);
  GgufMetadata metadata{{"tokenizer.ggml.model", std::string("gpt2")},
                        {"tokenizer.ggml.pre", vocabulary.preparation},
                        {"tokenizer.ggml.tokens", gguf_array(vocabulary.tokens)},
                        {"tokenizer.ggml.token_type", gguf_array(vocabulary.types)},
                        {"tokenizer.ggml.merges", gguf_array(vocabulary.merges)},
                        {"tokenizer.ggml.bos_token_id", id_value(tokenizer.text_start())},
                        {"tokenizer.ggml.eos_token_id", id_value(tokenizer.document_end())}};
  say_what_is_added(tokenizer, metadata);
  if (vocabulary.split_special_tokens) metadata.emplace_back("tokenizer." + std::string(split_special_key), true);
  if (!vocabulary.chat_template.empty()) metadata.emplace_back("tokenizer.chat_template", vocabulary.chat_template);
  return {metadata, vocabulary.note};
}

}  // namespace

GgufTokenizer gguf_tokenizer_of(Tokenizer const& tokenizer) {
  return has_settings(tokenizer.serialized()) ? byte_level_tokenizer(tokenizer) : own_tokenizer(tokenizer);
}

}  // namespace isobath
