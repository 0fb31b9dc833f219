#pragma once
// Which bytes of which document train and which validate: a pure function of contents and settings, never of the seed.

#include <cstdint>
#include <vector>

#include "config/config.h"

namespace isobath {

// One document in reading order. Its bytes [0, train_end) are trained on, [train_end, end) validate, the rest is left out.
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

// Fills train_end and end. Throws Error(data) when one of the two parts would be empty.
SplitSummary split_documents(std::vector<DocumentUse>& documents, DataConfig const& config);

// Indices of the documents that train (or validate), by content hash: an order that does not depend on file names.
std::vector<size_t> by_hash(std::vector<DocumentUse> const& documents, bool validate);

}  // namespace isobath
