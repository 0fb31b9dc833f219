#pragma once
// How far a run is, by the records that it writes. Uses no LibTorch.

#include <limits>
#include <string>

#include "core/files.h"

namespace isobath {

// "running"; "not started", without records; how it ended (finished, stopped, diverged); or "broken off": a process ended without saying
// so. ended: what the `end` record says, where that is the last record.
std::string run_state(bool locked, bool has_records, std::string const& ended);

struct RunStatus {
  std::string state = "not started";
  int64_t step = 0, planned_steps = 0;
  // The last ones; NaN where there is none yet.
  double train_loss = std::numeric_limits<double>::quiet_NaN(), causal_loss = train_loss, tokens_per_s = train_loss;
  double validated_tokens = 0;                                  // that the causal loss was measured on
  int64_t curve_points = 0, results = 0;                        // validations on eval.tokens, and on eval.final_tokens
  double train_flops = 0, train_seconds = 0, eval_seconds = 0;  // realised, so far
  double age_s = 0;                                             // since the last record

  int64_t validations() const { return curve_points + results; }
  int percent_of_steps() const;  // rounded down, and 100 only of a finished run
  // Until the last step, validations included, at the pace so far. NaN when the run is not running, or when nothing says.
  double seconds_left() const;
};

// Follows the growing metrics.jsonl of a run folder. Starts over where a resume has cut the file back or replaced it.
class RunProgress {
 public:
  explicit RunProgress(fs::path folder) : folder_(std::move(folder)) {}
  // Reads what is new. A line that is still being written is left for the next time.
  RunStatus const& update();
  RunStatus const& now() const { return now_; }

 private:
  fs::path folder_;
  RunStatus now_;
  std::string ended_;      // what the `end` record says, while it is the last record
  int64_t offset_ = 0;     // of the first byte that is not read yet
  std::string last_line_;  // the last one read: when it no longer stands before `offset_`, the file is another one
};

}  // namespace isobath
