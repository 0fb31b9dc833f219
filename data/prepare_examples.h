#pragma once
// Prepares tasks for fine-tuning, as prepare.h does text.

#include "data/prepare.h"

namespace isobath {

// Its shards say which tokens are to be predicted: those of the answers.
PreparedData prepare_examples(Config const& config);
std::unique_ptr<Tokenizer> make_tokenizer_of_examples(Config const& config);  // trained on them

// The text of the examples in bytes, for estimates.
struct ExampleSizes {
  std::vector<int64_t> train, valid;
};
ExampleSizes example_sizes(Config const& config);

}  // namespace isobath
