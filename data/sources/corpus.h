#pragma once
// The documents of an experiment: read once to know them by their hashes, then as often as needed.

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.h"
#include "data/sources/documents.h"
#include "data/sources/sources.h"
#include "data/sources/split.h"

namespace isobath {

class Corpus {
 public:
  // Lists the files of sources and valid_sources; reads none. Throws Error(data) naming a source without files.
  explicit Corpus(DataConfig const& config);

  void scan();  // hashes all documents and splits them
  std::vector<SourceFile> const& files() const { return files_; }
  std::vector<SourceFile> const& valid_files() const { return valid_files_; }
  std::vector<DocumentUse> const& documents() const { return documents_; }  // after scan()
  SplitSummary const& summary() const { return summary_; }
  std::string content_key() const;  // 16 hex digits of what trains and what validates

  // Every document again, in order. Throws Error(data) when it is not what scan() met.
  void visit(std::function<void(size_t index, std::string_view text)> const& sink) const;
  // Deterministic sample of the training text for a tokenizer: documents by content hash, `bytes` in all.
  std::vector<std::string> training_sample(int64_t bytes) const;

 private:
  DataConfig config_;
  std::vector<SourceFile> files_, valid_files_;
  std::vector<DocumentUse> documents_;
  SplitSummary summary_;
};

}  // namespace isobath
