#pragma once
// Shards of one part of prepared data, train or valid, written as its documents come.

#include <cstdint>
#include <string>
#include <vector>

#include "core/files.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {

// Collects encoded documents and writes a shard whenever the next one would make it too large.
class ShardSeries {
 public:
  ShardSeries(fs::path folder, std::string name, Tokenizer const& tokenizer)
      : folder_(std::move(folder)), name_(std::move(name)), tokenizer_(tokenizer) {}

  // targets: as write_shard's, of all documents or of none.
  void add(std::vector<int32_t>&& ids, int64_t bytes, std::vector<bool>&& targets = {});
  void flush();

  std::vector<fs::path> paths;
  int64_t tokens = 0, text_bytes = 0;

 private:
  fs::path folder_;
  std::string name_;
  Tokenizer const& tokenizer_;
  std::vector<std::vector<int32_t>> documents_;
  std::vector<std::vector<bool>> targets_;
  int64_t held_tokens_ = 0, held_bytes_ = 0;
};

}  // namespace isobath
