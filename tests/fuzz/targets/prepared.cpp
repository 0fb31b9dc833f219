// data.json of prepared data.
#include "data/shards/cache.h"
#include "data/shards/shards.h"
#include "data/tokenizer/tokenizer.h"
#include "tests/fuzz/target.h"

namespace {

isobath::fs::path make_folder() {
  using namespace isobath;
  auto const tokenizer = byte_tokenizer();
  fs::path const folder = fuzz::file("prepared/tokenizer.model", tokenizer->serialized()).parent_path();
  write_shard(folder / "train-00000.shard", {tokenizer->encode("training")}, tokenizer->document_end(), 8, tokenizer->fingerprint());
  write_shard(folder / "valid-00000.shard", {tokenizer->encode("validation")}, tokenizer->document_end(), 10, tokenizer->fingerprint());
  return folder;
}

}  // namespace

void isobath::fuzz::read(std::string_view input) {
  static fs::path const folder = make_folder();
  file("prepared/data.json", input);
  open_prepared(folder);
  open_prepared(folder, 0);
}
