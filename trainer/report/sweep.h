#pragma once
// What an experiment over budgets and sizes has measured: a row for each arm, size and budget. Uses no LibTorch.

#include <nlohmann/json_fwd.hpp>
#include <optional>
#include <string>
#include <vector>

#include "core/int128.h"
#include "trainer/report/statistics.h"

namespace isobath {

struct ArmResult;

struct SweepRow {
  std::string family, size, budget;  // names; empty: the experiment has none
  std::vector<int64_t> seeds;        // ascending
  std::vector<double> losses;        // causal, final, of each seed
  Spread loss;                       // over them
  double params = 0, params_non_embedding = 0, tokens = 0;
  double forward_flops_per_token_causal = 0;  // realised
  Int128 train_flops;                         // realised, mean over the seeds
  double step_time_s = 0;                     // median
  int64_t context = 0;
  // Seconds a token and bytes a token, of one text; NaN: not measured, as at all but the largest budget.
  double decode_time_1 = 0, prefill_time = 0, kv_bytes = 0;
  std::optional<double> loss_of(int64_t seed) const;  // nullopt: that seed has not finished
};

SweepRow sweep_row(ArmResult const& arm);
nlohmann::ordered_json sweep_json(std::vector<SweepRow> const& rows);
std::string sweep_table(std::vector<SweepRow> const& rows);  // for a terminal; empty without rows

}  // namespace isobath
