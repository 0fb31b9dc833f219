#include "trainer/report/sweep.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/columns.h"
#include "core/units.h"
#include "format/total.h"
#include "trainer/report/frontier.h"
#include "trainer/report/report.h"

namespace isobath {

std::optional<double> SweepRow::loss_of(int64_t seed) const {
  auto const found = std::find(seeds.begin(), seeds.end(), seed);
  return found == seeds.end() ? std::nullopt : std::optional(losses[static_cast<size_t>(found - seeds.begin())]);
}

SweepRow sweep_row(ArmResult const& arm) {
  RunResult const& first = arm.runs.front();
  SweepRow row{first.family(), first.size, first.budget, {}, {}, arm.spread("loss_causal"), 0, 0, 0, 0, {}, 0, first.config.model.context};
  for (RunResult const& run : arm.runs) {
    row.seeds.push_back(run.config.seed);
    row.losses.push_back(run.metrics["loss_causal"]);
  }
  row.params = arm["params"];
  row.params_non_embedding = arm["params_non_embedding"];
  row.tokens = arm["tokens"];
  row.forward_flops_per_token_causal = arm["forward_flops_per_token_causal"];
  row.train_flops = arm.train_flops;
  row.step_time_s = arm["step_time_s"];
  row.decode_time_1 = cost_named("decode_time_1").of(arm);
  row.prefill_time = cost_named("prefill_time").of(arm);
  row.kv_bytes = cost_named("kv_bytes").of(arm);
  return row;
}

nlohmann::ordered_json sweep_json(std::vector<SweepRow> const& rows) {
  nlohmann::ordered_json all = nlohmann::ordered_json::array();
  auto const measured = [](char const* key, double value) { return metric_json(metric_of_report(key), value); };
  for (SweepRow const& row : rows) {
    nlohmann::ordered_json losses = nlohmann::ordered_json::array();
    for (double const loss : row.losses) losses.push_back(finite_or_null(loss));
    all.push_back({{"family", row.family},
                   {"size", row.size},
                   {"budget", row.budget},
                   {"context", row.context},
                   {"seeds", row.seeds},
                   {"params", measured("params", row.params)},
                   {"params_non_embedding", measured("params_non_embedding", row.params_non_embedding)},
                   {"forward_flops_per_token_causal", measured("forward_flops_per_token_causal", row.forward_flops_per_token_causal)},
                   {"train_flops", total_json(row.train_flops)},
                   {"tokens", measured("tokens", row.tokens)},
                   {"loss_causal",
                    {{"mean", finite_or_null(row.loss.mean)},
                     {"std", row.loss.n < 2 ? nlohmann::ordered_json(nullptr) : finite_or_null(row.loss.std)}}},
                   {"step_time_s", measured("step_time_s", row.step_time_s)},
                   {"decode_time_1", finite_or_null(row.decode_time_1)},
                   {"prefill_time", finite_or_null(row.prefill_time)},
                   {"kv_bytes", finite_or_null(row.kv_bytes)},
                   {"losses", std::move(losses)}});
  }
  return all;
}

std::string sweep_table(std::vector<SweepRow> const& rows) {
  if (rows.empty()) return "";
  auto const number = [](double value) { return std::isfinite(value) ? format_si(value) : std::string("-"); };
  std::vector<std::vector<std::string>> lines{{"budget", "arm", "size", "seeds", "parameters", "FLOPs a token", "tokens", "causal loss"}};
  for (SweepRow const& row : rows) {
    std::string const loss = fmt::format("{:.4f}", row.loss.mean) + (row.loss.n < 2 ? "" : fmt::format(" +- {:.4f}", row.loss.std));
    lines.push_back({row.budget.empty() ? "-" : row.budget, row.family, row.size.empty() ? "-" : row.size, std::to_string(row.seeds.size()),
                     number(row.params), number(row.forward_flops_per_token_causal), number(row.tokens), loss});
  }
  return aligned_columns(lines);
}

}  // namespace isobath
