#include "data/sources/corpus.h"

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/log.h"
#include "core/units.h"
#include "data/progress.h"
#include "data/shards/cache.h"

namespace isobath {
namespace {

uint64_t hash_of(std::string_view text) { return checksum(std::as_bytes(std::span(text))); }

}  // namespace

Corpus::Corpus(DataConfig const& config)
    : config_(config), files_(list_sources(config.sources)), valid_files_(list_sources(config.valid_sources)) {
  if (config.sources.empty()) throw Error(ExitCode::data, "data.sources is empty; name a file, a folder, a glob or libtorch-headers");
}

void Corpus::scan() {
  documents_.clear();
  Progress progress("reading text", 0);
  auto const read = [&](std::vector<SourceFile> const& files, bool valid) {
    ReadCounts const counts = read_documents(files, config_, [&](std::string_view text, SourceFile const&) {
      documents_.push_back({hash_of(text), static_cast<int64_t>(text.size()), valid, 0, 0});
      progress.add(static_cast<int64_t>(text.size()));
    });
    if (!files.empty()) log_counts(counts, valid ? "validation " : "");
  };
  read(files_, false);
  read(valid_files_, true);
  summary_ = split_documents(documents_, config_);
  if (config_.valid_sources.empty() && config_.split == Split::automatic && summary_.split == Split::tail)
    log_info(
        "data.split: auto takes the tail of the text for validation: none of the documents is small enough to be "
        "data.valid_fraction of it");
}

std::string Corpus::content_key() const {
  KeyText key;
  for (DocumentUse const& document : documents_) {
    if (document.end > 0) key.add(hex(document.hash)).add(document.train_end).add(document.end);
  }
  // The kind of split is part of the key because it decides the order in which validation documents are stored.
  return key.add(config_.valid_sources.empty() ? Choice<Split>(summary_.split).name() : "given").key();
}

std::string Corpus::valid_text_key() const {
  KeyText key;
  for (DocumentUse const& document : documents_)
    if (document.end > document.train_end) key.add(hex(document.hash)).add(document.train_end).add(document.end);
  return key.key();
}

void Corpus::visit(std::function<void(size_t, std::string_view)> const& sink) const {
  size_t index = 0;
  auto const changed = [](std::string const& where) {
    throw Error(ExitCode::data, where + " changed while it was being read; start again");
  };
  for (auto const* files : {&files_, &valid_files_}) {
    read_documents(*files, config_, [&](std::string_view text, SourceFile const& file) {
      if (index == documents_.size() || documents_[index].hash != hash_of(text)) changed(file.path.string());
      sink(index++, text);
    });
  }
  if (index != documents_.size()) changed("a data source");
}

std::vector<std::string> Corpus::training_sample(int64_t bytes) const {
  std::map<size_t, std::pair<size_t, int64_t>> wanted;  // document -> place in the sample, bytes
  std::vector<std::string> sample;
  for (size_t const index : by_hash(documents_, /*validate=*/false)) {
    if (bytes <= 0) break;
    int64_t const taken = std::min(bytes, documents_[index].train_end);
    wanted[index] = {sample.size(), taken};
    sample.emplace_back();
    bytes -= taken;
  }
  visit([&](size_t index, std::string_view text) {
    auto const found = wanted.find(index);
    if (found != wanted.end()) sample[found->second.first] = text.substr(0, static_cast<size_t>(found->second.second));
  });
  return sample;
}

}  // namespace isobath
