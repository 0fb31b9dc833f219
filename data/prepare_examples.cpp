#include "data/prepare_examples.h"

#include <limits>

#include "core/error.h"
#include "core/log.h"
#include "core/units.h"
#include "data/progress.h"
#include "data/shards/cache.h"
#include "data/shards/shard_series.h"
#include "data/tasks/encoded_items.h"
#include "data/tasks/examples.h"
#include "data/tokenizer/make_tokenizer.h"

namespace isobath {
namespace {

int64_t bytes_of(TaskOption const& example) { return static_cast<int64_t>(example.context.size() + example.continuation.size()); }

std::unique_ptr<Tokenizer> tokenizer_of(TaskExamples const& examples, TokenizerConfig const& config) {
  return make_tokenizer(config, [&] {
    std::vector<std::string> sample;
    int64_t bytes = 0;
    for (TaskOption const& example : examples.train) {
      if (bytes >= config.train_bytes) break;
      sample.push_back(example.context + example.continuation);
      bytes += bytes_of(example);
    }
    return sample;
  });
}

// Returns the number of examples that have no answer of their own, because it is part of the last piece of the question. They are left out.
int64_t encode_examples(std::vector<TaskOption> const& examples, Tokenizer const& tokenizer, ShardSeries& series) {
  int64_t without_answer = 0, bytes = 0;
  for (TaskOption const& example : examples) bytes += bytes_of(example);
  Progress progress("encoding", bytes);
  for (TaskOption const& example : examples) {
    EncodedOption encoded = encode_option(example, tokenizer, std::numeric_limits<int64_t>::max() / 2);
    progress.add(bytes_of(example));
    if (encoded.continuation.empty()) {
      ++without_answer;
      continue;
    }
    std::vector<bool> targets(encoded.context.size());
    targets.resize(encoded.context.size() + encoded.continuation.size(), true);
    encoded.context.insert(encoded.context.end(), encoded.continuation.begin(), encoded.continuation.end());
    series.add(std::move(encoded.context), bytes_of(example), std::move(targets));
  }
  series.flush();
  return without_answer;
}

void make_examples(TaskExamples const& examples, Config const& config, fs::path const& folder) {
  PreparedData data;
  data.tokenizer = tokenizer_of(examples, config.tokenizer);
  write_file_atomic(folder / "tokenizer.model", data.tokenizer->serialized());
  ShardSeries train(folder, "train", *data.tokenizer), valid(folder, "valid", *data.tokenizer);
  int64_t const left_out =
      encode_examples(examples.train, *data.tokenizer, train) + encode_examples(examples.valid, *data.tokenizer, valid);
  if (train.tokens == 0 || valid.tokens == 0)
    throw Error(ExitCode::data, "data.tasks: the answers of all examples are part of the last piece of their questions");
  if (left_out > 0)
    log_warning(std::to_string(left_out) + " examples are left out: their answers are part of the last piece of their questions");
  data.train = train.paths;
  data.valid = valid.paths;
  data.train_tokens = train.tokens;
  data.valid_tokens = valid.tokens;
  data.train_bytes = train.text_bytes;
  data.valid_bytes = valid.text_bytes;
  data.documents = std::ssize(examples.train) + std::ssize(examples.valid) - left_out;
  data.valid_text = examples.valid_key;
  write_summary(folder, data, config.data);
  log_info("encoded " + std::to_string(examples.train.size()) + " examples to train on and " + std::to_string(examples.valid.size()) +
           " for validation: " + format_si(static_cast<double>(data.train_tokens)) + " and " +
           format_si(static_cast<double>(data.valid_tokens)) + " tokens");
}

}  // namespace

PreparedData prepare_examples(Config const& config) {
  TaskExamples const examples = read_examples(config);
  KeyText key;
  key.add(prepared_format).add("examples").add(examples.train_key).add(examples.valid_key);
  add_tokenizer_settings(key, config.tokenizer);
  return open_or_make(writable_cache_root(config.data), key.key(),
                      [&](fs::path const& folder) { make_examples(examples, config, folder); });
}

std::unique_ptr<Tokenizer> make_tokenizer_of_examples(Config const& config) {
  return tokenizer_of(read_examples(config), config.tokenizer);
}

ExampleSizes example_sizes(Config const& config) {
  TaskExamples const examples = read_examples(config);
  ExampleSizes sizes;
  for (TaskOption const& example : examples.train) sizes.train.push_back(bytes_of(example));
  for (TaskOption const& example : examples.valid) sizes.valid.push_back(bytes_of(example));
  return sizes;
}

}  // namespace isobath
