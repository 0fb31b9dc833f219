#pragma once
// Prepares text for training: reads the sources into documents, splits them, trains or loads the tokenizer and writes token shards, or the
// examples of data.tasks (prepare_examples.h). The result is cached by content.

#include <memory>
#include <string>
#include <vector>

#include "config/config.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {

struct PreparedData {
  fs::path folder;  // in the cache: tokenizer.model, train-*.shard, valid-*.shard, data.json
  std::shared_ptr<Tokenizer const> tokenizer;
  std::vector<fs::path> train, valid;
  int64_t train_tokens = 0, valid_tokens = 0, train_bytes = 0, valid_bytes = 0;
  int64_t documents = 0, duplicates_removed = 0;
  std::string valid_text;  // hash of the validation text, whatever the tokenizer; empty where an older version prepared it
  bool from_cache = false;
};

// Prepares the data or finds them in the cache. Several processes may call it at once: a file lock lets one of them prepare the data.
// Throws Error(data) that names the faulty source.
PreparedData prepare_data(Config const&);

// The tokenizer prepare_data would make: trained on the training documents (bpe), or read from a file. Nothing is cached.
std::unique_ptr<Tokenizer> make_tokenizer(Config const&);

// What prepare_data would read, for `isobath plan`: number of files after globbing, and their sizes on disk.
// Throws Error(data) when data.split: document cannot divide a single document.
struct SourceSummary {
  int64_t files = 0, compressed_files = 0;
  int64_t bytes = 0, valid_bytes = 0;  // of data.sources, of data.valid_sources
};
SourceSummary summarize_sources(DataConfig const&);

}  // namespace isobath
