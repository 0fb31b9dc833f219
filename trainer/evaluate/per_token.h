#pragma once
// What a model did with every token of a text, as JSON Lines.

#include <filesystem>

#include "core/files.h"
#include "trainer/evaluate/token_outcomes.h"

namespace isobath {

// Writes one object a token: {"id", "piece", "document", "offset", "loss_topk", "loss_causal", "depth", "selected", "selected_topk",
// "score"} (TokenOutcome); null where there is no value. With EvalSettings::likeliest also "top_ids" and "top_log_probabilities". Throws
// Error(disk).
class TokenRecords {
 public:
  explicit TokenRecords(std::filesystem::path const& path) : file_(path) {}
  void add(TokenOutcome const& token);
  void finish();

 private:
  FileWriter file_;
  std::string lines_;  // not written yet
};

}  // namespace isobath
