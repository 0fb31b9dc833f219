// A GGUF file and the tokenizer in it.
#include "format/gguf.h"

#include "data/tokenizer/imported/gguf_tokenizer.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  fs::path const path = file("model.gguf", input);
  GgufFile const opened(path);
  uint64_t sum = 0;
  for (TensorView const& tensor : opened.tensors())
    if (!tensor.bytes.empty()) sum += static_cast<uint64_t>(tensor.bytes.front()) + static_cast<uint64_t>(tensor.bytes.back());
  require(sum <= 2 * 255 * opened.tensors().size(), "bytes of tensors can be read");
  parse_tokenizer(gguf_tokenizer(path))->encode("some text, 12 <end>");
}
