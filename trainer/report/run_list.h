#pragma once
// What runs there are below a folder, and how they are. Uses no LibTorch.

#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct ListedRun {
  std::string name;   // its folder, relative to the one that was searched
  std::string state;  // running, finished, stopped, diverged, or broken off: a process ended without saying so
  int64_t step = 0, planned_steps = 0;
  double train_loss = 0, causal_loss = 0, tokens_per_s = 0;  // the last ones; NaN where there is none yet
  double age_s = 0;                                          // since its last record
};

// Every run folder at or below `folder`, by name. Throws Error(data) when the folder is missing.
std::vector<ListedRun> list_runs(fs::path const& folder);
std::string run_table(std::vector<ListedRun> const& runs);

}  // namespace isobath
