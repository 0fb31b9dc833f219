// Token shards. The checksums of the input are corrected first, so that it gets past their check.
#include "data/shards/shards.h"

#include <cstring>

#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  constexpr size_t header = 120;  // bytes; the last 16 are the checksums of what follows the header and of the header
  std::string content(input);
  auto const put_checksum = [&](size_t at, std::span<char const> of) {
    uint64_t const sum = checksum(std::as_bytes(of));
    std::memcpy(content.data() + at, &sum, sizeof sum);
  };
  if (content.size() >= header) {
    put_checksum(header - 16, std::span(content).subspan(header));
    put_checksum(header - 8, std::span(content).first(header - 8));
  }
  fs::path const path = file("train-0.shard", content);
  Shard const shard(path, /*verify=*/true);
  for (int64_t token = 0; token < shard.info().tokens; ++token) shard.is_target(token), shard.token(token);
  TokenStream const stream({path});
  std::vector<int64_t> tokens(static_cast<size_t>(stream.size()));
  stream.copy(0, tokens);
  stream.targets(0, stream.size());
  for (int64_t const start : stream.document_starts_in(0, stream.size()))
    require(start >= 0 && start < stream.size(), "documents start in the shard");
}
