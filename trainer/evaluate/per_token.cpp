#include "trainer/evaluate/per_token.h"

#include <nlohmann/json.hpp>

#include "trainer/metrics/metric.h"

namespace isobath {

void TokenRecords::add(TokenOutcome const& token) {
  nlohmann::ordered_json record = {{"id", token.id},
                                   {"piece", token.piece},
                                   {"document", token.document},
                                   {"offset", token.offset},
                                   {"loss_topk", finite_or_null(token.loss_topk)},
                                   {"loss_causal", finite_or_null(token.loss_causal)}};
  if (!token.top_ids.empty()) {
    record["top_ids"] = token.top_ids;
    record["top_log_probabilities"] = token.top_log_probabilities;
  }
  if (token.read) {
    record["depth"] = token.depth;
    record["selected"] = token.selected;
    record["selected_topk"] = token.selected_topk;
    record["score"] = nlohmann::ordered_json::array();
    for (double const score : token.score) record["score"].push_back(finite_or_null(score));
  }
  lines_ += record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
  if (lines_.size() < 1 << 16) return;
  file_.write(lines_);
  lines_.clear();
}

void TokenRecords::finish() {
  file_.write(lines_);
  file_.finish();
}

}  // namespace isobath
