#include "data/shards/shard_series.h"

#include <algorithm>

#include "data/shards/shards.h"

namespace isobath {
namespace {

constexpr int64_t shard_tokens = int64_t{32} << 20;

}  // namespace

void ShardSeries::add(std::vector<int32_t>&& ids, int64_t bytes, std::vector<bool>&& targets) {
  auto const size = static_cast<int64_t>(ids.size()) + 1;
  if (held_tokens_ > 0 && held_tokens_ + size > shard_tokens) flush();
  documents_.push_back(std::move(ids));
  if (!targets.empty()) targets_.push_back(std::move(targets));
  held_tokens_ += size;
  held_bytes_ += bytes;
  tokens += size;
  text_bytes += bytes;
}

void ShardSeries::flush() {
  if (documents_.empty()) return;
  std::string number = std::to_string(paths.size());
  number.insert(0, 5 - std::min<size_t>(number.size(), 5), '0');
  paths.push_back(folder_ / (name_ + "-" + number + ".shard"));
  write_shard(paths.back(), documents_, tokenizer_.document_end(), held_bytes_, tokenizer_.fingerprint(), targets_);
  documents_.clear();
  targets_.clear();
  held_tokens_ = held_bytes_ = 0;
}

}  // namespace isobath
