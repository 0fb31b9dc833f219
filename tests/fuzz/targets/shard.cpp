// A token shard whose header has the right checksum, as one that was made to be read has.
#include "data/shards/shards.h"

#include <cstring>

#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  constexpr size_t covered = 112;  // bytes of the header before its checksum
  std::string content(input);
  if (content.size() >= covered + sizeof(uint64_t)) {
    uint64_t const sum = checksum(std::as_bytes(std::span(content)).first(covered));
    std::memcpy(content.data() + covered, &sum, sizeof sum);
  }
  fs::path const path = file("train-0.shard", content);
  Shard const shard(path);
  for (int64_t token = 0; token < shard.info().tokens; ++token) shard.is_target(token), shard.token(token);
  TokenStream const stream({path});
  std::vector<int64_t> tokens(static_cast<size_t>(stream.size()));
  stream.copy(0, tokens);
  stream.targets(0, stream.size());
  for (int64_t const start : stream.document_starts_in(0, stream.size()))
    require(start >= 0 && start < stream.size(), "documents start in the shard");
}
