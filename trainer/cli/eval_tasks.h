#pragma once
// The tasks of `isobath eval`.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "trainer/parallel/ranks.h"
#include "trainer/run/saved_model.h"

namespace isobath {

struct TaskOptions {
  std::string predictions;  // file to write; "": none
  std::string against;      // such a file of another model; "": none
};

// Scores eval.tasks, which the ranks share, with `eval.final_task_items` items each. Adds an array `tasks` to `result`; returns the table
// for a terminal.
std::string add_tasks(Checkpoint const& checkpoint, Config const& config, LanguageModel& model, TaskOptions const& options,
                      nlohmann::ordered_json& result, Ranks const& ranks);

}  // namespace isobath
