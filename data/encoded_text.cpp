#include "data/encoded_text.h"

#include <cstdlib>

#include "core/error.h"
#include "data/sources/sources.h"

namespace isobath {

EncodedText::EncodedText(std::vector<std::string> const& sources, DataConfig const& config, Tokenizer const& tokenizer) {
  std::vector<std::vector<int32_t>> documents;
  counts_ = read_documents(list_sources(sources), config, [&](std::string_view text, SourceFile const&) {
    documents.push_back(with_text_start(tokenizer, tokenizer.encode(text)));
  });
  if (counts_.bad_rows > 0 || counts_.rows_as_text > 0) log_counts(counts_, "");
  if (documents.empty()) throw Error(ExitCode::data, "there is no text in " + sources.front() + (sources.size() > 1 ? ", ..." : ""));
  std::string name = (fs::temp_directory_path() / "isobath-text-XXXXXX").string();
  if (!mkdtemp(name.data())) throw Error(ExitCode::disk, "cannot make a folder in " + fs::temp_directory_path().string());
  folder_ = name;
  write_shard(folder_ / "text.shard", documents, tokenizer.document_end(), counts_.bytes, tokenizer.fingerprint());
  stream_ = std::make_unique<TokenStream>(std::vector<fs::path>{folder_ / "text.shard"});
}

EncodedText::~EncodedText() {
  std::error_code ignored;
  if (!folder_.empty()) fs::remove_all(folder_, ignored);
}

}  // namespace isobath
