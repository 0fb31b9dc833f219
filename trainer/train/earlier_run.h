#pragma once
// Finds the checkpoint that a run can resume from.

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "trainer/run/run_folder.h"
#include "trainer/run/saved_model.h"

namespace isobath {

struct EarlierRun {
  std::filesystem::path checkpoint;
  TrainState state;
  std::vector<ConfigDifference> schedule_changes;
};

// The newest undamaged checkpoint of the run, if there is one; the run's links are set by it. Throws Error(config) when `config` differs in
// settings that make it another run.
std::optional<EarlierRun> find_earlier_run(RunFolder const& run, Config const& config, Ranks const& ranks);

// Lists the differences that keep a resumed run from being bit-exact: "threads 2 before, 4 now, ..."; empty when there are none.
std::string bit_exactness_lost(TrainState const& before, Machine const& now, int64_t micro_batch_tokens);

// Throws Error(config) when a schedule was changed (but for the way that the budget is written) for a run that has nothing left to train:
// it would be reported under settings that it never had. nothing_left: it has reached the end of the schedule that is given now;
// no_patience: that is train.patience, which a larger budget would not change.
void check_something_is_left(EarlierRun const& earlier, bool nothing_left, bool no_patience);

// Writes the last record of a finished run whose process died between its last checkpoint and that record.
void complete_records(RunFolder const& run, TrainState const& state);

}  // namespace isobath
