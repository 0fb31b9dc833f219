#include "data/sources/split.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <unordered_set>

#include "core/error.h"
#include "core/units.h"

namespace isobath {
namespace {

using Indices = std::vector<size_t>;

void sort_by_hash(Indices& indices, std::vector<DocumentUse> const& documents) {
  std::sort(indices.begin(), indices.end(),
            [&](size_t a, size_t b) { return documents[a].hash != documents[b].hash ? documents[a].hash < documents[b].hash : a < b; });
}

// Marks the first of identical documents as used: for training, or for validation when it is from valid_sources. `seen` holds the hashes so
// far.
Indices without_duplicates(std::vector<DocumentUse>& documents, bool from_valid_sources, std::unordered_set<uint64_t>& seen) {
  Indices kept;
  for (size_t i = 0; i < documents.size(); ++i) {
    DocumentUse& document = documents[i];
    if (document.from_valid_sources != from_valid_sources || !seen.insert(document.hash).second) continue;
    document.end = document.size;
    document.train_end = from_valid_sources ? 0 : document.size;
    kept.push_back(i);
  }
  return kept;
}

// Keeps `max_bytes` of text: documents in the order of their hashes, the last one cut. So the text is a sample of all sources, and a larger
// max_bytes only adds to it.
void sample(std::vector<DocumentUse>& documents, Indices& indices, int64_t max_bytes) {
  Indices order = indices;
  sort_by_hash(order, documents);
  for (size_t const i : order) {
    DocumentUse& document = documents[i];
    document.train_end = document.end = std::min(document.size, max_bytes);
    max_bytes -= document.end;
  }
  std::erase_if(indices, [&](size_t i) { return documents[i].end == 0; });
}

int64_t total(std::vector<DocumentUse> const& documents, Indices const& indices) {
  return std::accumulate(indices.begin(), indices.end(), int64_t{0}, [&](int64_t sum, size_t i) { return sum + documents[i].end; });
}

// Takes whole documents for validation, in the order of their hashes, until they make up `fraction`. A document that would exceed
// `fraction` by more than half is skipped; returns false when all are.
bool take_documents(std::vector<DocumentUse>& documents, Indices indices, double fraction) {
  if (indices.size() < 2) return false;
  double const wanted = fraction * static_cast<double>(total(documents, indices));
  sort_by_hash(indices, documents);
  double taken = 0;
  for (size_t const i : indices) {
    if (taken >= wanted) break;
    auto const size = static_cast<double>(documents[i].end);
    if (taken + size > 1.5 * wanted) continue;
    documents[i].train_end = 0;
    taken += size;
  }
  return taken > 0;
}

void split_by_document(std::vector<DocumentUse>& documents, Indices const& indices, double fraction) {
  check_document_count(indices.size());
  if (take_documents(documents, indices, fraction)) return;
  size_t const smallest =
      *std::min_element(indices.begin(), indices.end(), [&](size_t a, size_t b) { return documents[a].end < documents[b].end; });
  documents[smallest].train_end = 0;
}

// Takes the last `fraction` of all documents, laid end to end, for validation.
void split_tail(std::vector<DocumentUse>& documents, Indices const& indices, double fraction) {
  auto const bytes = total(documents, indices);
  auto train = static_cast<int64_t>(static_cast<double>(bytes) * (1.0 - fraction));
  train = std::clamp<int64_t>(train, std::min<int64_t>(1, bytes), std::max<int64_t>(bytes - 1, 0));
  for (size_t const i : indices) {
    documents[i].train_end = std::min(documents[i].end, train);
    train -= documents[i].train_end;
  }
}

}  // namespace

void check_document_count(size_t documents) {
  if (documents >= 2) return;
  throw Error(ExitCode::data, "data.split: document needs at least two different documents, the sources hold " + std::to_string(documents) +
                                  "; use data.split: tail or give data.valid_sources");
}

SplitSummary split_documents(std::vector<DocumentUse>& documents, DataConfig const& config) {
  std::unordered_set<uint64_t> seen;
  size_t const valid = without_duplicates(documents, true, seen).size();
  Indices train = without_duplicates(documents, false, seen);
  SplitSummary summary;
  summary.duplicates = static_cast<int64_t>(documents.size() - valid - train.size());
  if (config.max_bytes > 0) sample(documents, train, config.max_bytes);
  if (config.valid_sources.empty()) {
    summary.split = config.split;
    if (config.split == Split::automatic)
      summary.split = take_documents(documents, train, config.valid_fraction) ? Split::document : Split::tail;
    else if (config.split == Split::document)
      split_by_document(documents, train, config.valid_fraction);
    if (summary.split == Split::tail) split_tail(documents, train, config.valid_fraction);
  }
  for (DocumentUse const& document : documents) {
    summary.train_documents += document.train_end > 0;
    summary.valid_documents += document.end > document.train_end;
    summary.train_bytes += document.train_end;
    summary.valid_bytes += document.end - document.train_end;
  }
  if (summary.train_bytes == 0 || summary.valid_bytes == 0) {
    std::string const part = summary.train_bytes == 0 ? "training" : "validation";
    throw Error(ExitCode::data, "no text is left for " + part + ": " + std::to_string(documents.size()) + " documents, " +
                                    std::to_string(summary.duplicates) + " of them copies, " +
                                    std::to_string(summary.train_bytes + summary.valid_bytes) + " bytes used");
  }
  return summary;
}

std::vector<size_t> by_hash(std::vector<DocumentUse> const& documents, bool validate) {
  Indices indices;
  for (size_t i = 0; i < documents.size(); ++i) {
    if (validate ? documents[i].end > documents[i].train_end : documents[i].train_end > 0) indices.push_back(i);
  }
  sort_by_hash(indices, documents);
  return indices;
}

}  // namespace isobath
