#pragma once
// Any text as a stream of tokens, without a split, a cache or training: what `isobath eval --text` reads.

#include <memory>
#include <string>
#include <vector>

#include "data/shards/shards.h"
#include "data/sources/documents.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {

class EncodedText {
 public:
  // Reads all documents of `sources` (files, folders, globs; rows as `config` says), in order, each with the token before it that the
  // tokenizer starts texts with. Throws Error(data) naming a source that cannot be read, or when there is no text.
  EncodedText(std::vector<std::string> const& sources, DataConfig const& config, Tokenizer const& tokenizer);
  ~EncodedText();
  EncodedText(EncodedText const&) = delete;

  TokenStream const& stream() const { return *stream_; }
  ReadCounts const& counts() const { return counts_; }

 private:
  fs::path folder_;  // temporary
  ReadCounts counts_;
  std::unique_ptr<TokenStream> stream_;
};

}  // namespace isobath
