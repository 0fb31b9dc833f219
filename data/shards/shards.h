#pragma once
// Token shards: files of token ids that are written once, renamed into place when they are complete, and memory-mapped for reading.

#include <cstdint>
#include <filesystem>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct ShardInfo {
  int64_t tokens = 0, documents = 0, bytes = 0;  // bytes: of the text the tokens stand for
  int token_bytes = 2;                           // 2 or 4
  bool has_targets = false;                      // says which tokens are to be predicted; otherwise all are
  std::string tokenizer_fingerprint;
};

// Writes a temporary file beside `path`, then renames it. `documents[i]` holds the token ids of one document without the closing
// document_end, which write_shard appends. targets, where it is not empty: for every document and token, whether it is to be predicted; the
// closing ones are not.
void write_shard(fs::path const& path, std::vector<std::vector<int32_t>> const& documents, int32_t document_end, int64_t text_bytes,
                 std::string const& tokenizer_fingerprint, std::vector<std::vector<bool>> const& targets = {});

class Shard {
 public:
  explicit Shard(fs::path const& path, bool verify = false);  // verify: read all of it and compare the checksum. Throws Error(data).
  ShardInfo const& info() const { return info_; }
  int32_t token(int64_t index) const;
  void copy(int64_t first, std::span<int64_t> out) const;
  bool is_target(int64_t index) const;
  std::span<uint64_t const> document_starts() const;  // token offsets, ascending, [documents]

 private:
  MappedFile file_;
  ShardInfo info_;
};

// Several shards read as one stream of tokens.
class TokenStream {
 public:
  explicit TokenStream(std::vector<fs::path> const& shards);
  int64_t size() const { return size_; }
  int64_t documents() const;
  int64_t text_bytes() const;
  void copy(int64_t first, std::span<int64_t> out) const;
  bool has_targets() const;  // some shard says which tokens are to be predicted
  std::vector<bool> targets(int64_t first, int64_t last) const;
  std::vector<int64_t> document_starts_in(int64_t first, int64_t last) const;  // stream offsets of documents that start in [first, last)

 private:
  void check_range(int64_t first, int64_t last) const;
  size_t shard_at(int64_t token) const;

  std::vector<Shard> shards_;
  std::vector<int64_t> begins_;
  int64_t size_ = 0;
};

}  // namespace isobath
