#pragma once
// The documents of an experiment. scan() hashes and splits them; visit() reads them again, because only their hashes and sizes stay in
// memory.

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
  std::string content_key() const;     // 16 hex digits: a hash of the training and the validation documents
  std::string valid_text_key() const;  // the same of the validation text alone, whatever the tokenizer

  // Reads every document again, in the order of scan(). Throws Error(data) when one has changed since.
  void visit(std::function<void(size_t index, std::string_view text)> const& sink) const;
  // A deterministic sample of the training text for a tokenizer: documents in the order of their content hashes, `bytes` in all.
  std::vector<std::string> training_sample(int64_t bytes) const;

 private:
  DataConfig config_;
  std::vector<SourceFile> files_, valid_files_;
  std::vector<DocumentUse> documents_;
  SplitSummary summary_;
};

}  // namespace isobath
