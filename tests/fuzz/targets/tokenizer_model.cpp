// tokenizer.model, by sentencepiece and by our own reading of its pieces.
#include "core/error.h"
#include "data/tokenizer/pieces.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  try {
    read_pieces(input);
  } catch (Error const&) {
  }
  auto const tokenizer = parse_tokenizer(input);
  std::string const text("the cat\t sat  \n\xe2\x96\x81 \xff \xc3\xa9 \0 12", 25);
  require(tokenizer->decode(tokenizer->encode(text)) == text, "decode(encode(x)) == x");
}
