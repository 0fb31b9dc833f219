// A tokenizer.json, alone or with the settings of its import.
#include "data/tokenizer/imported/import_settings.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  ImportSettings settings;
  settings.document_end = "<end>";
  auto const tokenizer = parse_tokenizer(has_settings(input) ? std::string(input) : with_settings(input, settings));
  tokenizer->decode(tokenizer->encode("the cat\t sat  \n\xe2\x96\x81 \xff \xc3\xa9 12345 it's <end> ab"));
}
