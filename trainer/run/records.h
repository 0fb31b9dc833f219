#pragma once
// The lines of metrics.jsonl (docs/checkpoints.md lists their keys) and the progress line, from values already read.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "data/prepare.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/evaluate/oracle.h"
#include "trainer/run/machine.h"
#include "trainer/run/state.h"
#include "trainer/schedule/schedule.h"
#include "trainer/train/step.h"

namespace isobath {

// A window, read from the device. NaN: nothing to average.
struct WindowReading {
  double loss = 0, router_loss = 0, predictor_loss = 0, z_loss = 0, gate_loss = 0, grad_norm = 0;
  int64_t skipped = 0, streak = 0;
  int64_t predictor_skipped = 0, predictor_streak = 0;
  RoutingRates routing;
};
WindowReading read_window(Window const& window, int64_t tokens, bool decides = true);  // as routing_rates

struct Speed {
  double tokens_per_s = 0;
  double mfu = 0;     // share of the machine's measured matrix-product speed, by the ledger
  double mfu_6n = 0;  // the same by the common 6 N + 12 L D T FLOPs a token (N all parameters), as if nothing were routed
};

// Of a start and of every change of schedule. epochs: planned.
nlohmann::ordered_json run_record(TrainState const& state, Config const& config, Machine const& machine, PeakFlops const& peak,
                                  Schedule const& schedule, PreparedData const& data, double epochs);
// memory_bytes: the most so far (peak_memory_bytes of machine.h).
nlohmann::ordered_json train_record(TrainState const& state, WindowReading const& reading, double learning_rate, Speed const& speed,
                                    int64_t memory_bytes);
// `seconds`: what the validation took; `sample`: continuation of eval.sample_prompt, may be empty.
nlohmann::ordered_json validation_record(TrainState const& state, Evaluation const& evaluation, bool final, double seconds,
                                         std::string const& sample);
void add_oracle(nlohmann::ordered_json& validation_record, std::optional<Oracle> const& oracle);
nlohmann::ordered_json checkpoint_record(TrainState const& state, std::string const& path, std::string const& reason);
// What a process of a run measured; NaN: nothing.
struct ProcessTimes {
  double step_time_median, tokens_per_s, wall_seconds;
  double checkpoint_seconds;  // training stood still for them
  int64_t checkpoints, memory_bytes;
};
nlohmann::ordered_json end_record(TrainState const& state, std::string const& status, ProcessTimes const& times);

// "step 1200/20000 6.0% | loss 3.412 | lr 3.0e-04 | gnorm 0.84 | routed 12.5% | 41.2k tok/s | mfu 38% | eta 3m12s"
std::string progress_line(TrainState const& state, Schedule const& schedule, WindowReading const& reading, double learning_rate,
                          Speed const& speed);
std::string validation_line(TrainState const& state, Evaluation const& evaluation);

}  // namespace isobath
