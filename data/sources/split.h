#pragma once
// Divides the documents into training and validation text. The split depends on contents and settings only, never on the seed.

#include <cstdint>
#include <vector>

#include "config/config.h"

namespace isobath {

// One document, in reading order. Its bytes [0, train_end) are training text, [train_end, end) validation text; the rest is not used.
struct DocumentUse {
  uint64_t hash = 0;
  int64_t size = 0;
  bool from_valid_sources = false;
  int64_t train_end = 0, end = 0;
};

struct SplitSummary {
  Split split = Split::document;  // document or tail; without meaning where validation sources are given
  int64_t duplicates = 0;         // documents left out because an identical one is used
  int64_t train_documents = 0, valid_documents = 0, train_bytes = 0, valid_bytes = 0;
};

// Fills train_end and end of every document. Throws Error(data) when there would be no training or no validation text.
SplitSummary split_documents(std::vector<DocumentUse>& documents, DataConfig const& config);

// Throws Error(data) when data.split: document has fewer than two documents to divide.
void check_document_count(size_t documents);

// Indices of the documents with training text (validate: with validation text), sorted by content hash, so that their order does not depend
// on file names.
std::vector<size_t> by_hash(std::vector<DocumentUse> const& documents, bool validate);

}  // namespace isobath
