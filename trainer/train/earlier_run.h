#pragma once
// What a run folder already holds of its run, and whether the run can go on from there.

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

// The newest whole checkpoint of the run, if there is one. Refuses a configuration that differs in what makes the run the one it is.
std::optional<EarlierRun> find_earlier_run(RunFolder const& run, Config const& config);

// What keeps steps on this machine from repeating those on the machine of `before` to the last bit: "threads 2 before, 4 now, ..."; empty:
// nothing does.
std::string bit_exactness_lost(TrainState const& before, Machine const& now, int64_t micro_batch_tokens);

// Writes the last record of a finished run whose process died between its last checkpoint and that record.
void complete_records(RunFolder const& run, TrainState const& state);

}  // namespace isobath
