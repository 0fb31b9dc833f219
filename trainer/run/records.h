#pragma once
// Formats the records of metrics.jsonl (docs/checkpoints.md lists their keys) and the progress lines, from values that are on the host.

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

// The values of a MetricWindow, read from the device: means over its steps. NaN: the window has no finite value.
struct WindowReading {
  double loss = 0, router_loss = 0, predictor_loss = 0, z_loss = 0, gate_loss = 0, grad_norm = 0;
  int64_t skipped = 0, streak = 0;
  int64_t predictor_skipped = 0, predictor_streak = 0;
  RoutingRates routing;
};
WindowReading read_window(MetricWindow const& window, int64_t tokens, bool decides = true);  // decides: see routing_rates

struct Speed {
  double tokens_per_s = 0;
  double mfu = 0;     // realised FLOP/s, by the ledger, as a share of PeakFlops
  double mfu_6n = 0;  // the same with the common 6 N + 12 L D T FLOPs a token (N all parameters), as if nothing were routed
};

// How long a run is to be, on which text.
struct PlannedRun {
  Schedule const& schedule;
  PreparedData const& data;
  double epochs = 0;
};
// Written at the start of a run and at every change of its schedule. epochs: planned.
nlohmann::ordered_json run_record(TrainState const& state, Config const& config, Machine const& machine, PeakFlops const& peak,
                                  PlannedRun const& plan);
// memory_bytes: the most so far (peak_memory_bytes of machine.h).
nlohmann::ordered_json train_record(TrainState const& state, WindowReading const& reading, double learning_rate, Speed const& speed,
                                    int64_t memory_bytes);
// `seconds`: what the validation took; `sample`: continuation of eval.sample_prompt, may be empty.
nlohmann::ordered_json validation_record(TrainState const& state, Evaluation const& evaluation, bool final, double seconds,
                                         std::string const& sample);
void add_oracle(nlohmann::ordered_json& validation_record, std::optional<Oracle> const& oracle);
nlohmann::ordered_json checkpoint_record(TrainState const& state, std::string const& path, std::string const& reason);
// What one process of a run measured (a resumed run has several); NaN: not measured.
struct ProcessTimes {
  double step_time_median, tokens_per_s, wall_seconds;
  double checkpoint_seconds;  // time that training paused for checkpoints
  int64_t checkpoints, memory_bytes;
};
nlohmann::ordered_json end_record(TrainState const& state, std::string const& status, ProcessTimes const& times);

// "step 1200/20000 6.0% | loss 3.412 | lr 3.0e-04 | gnorm 0.84 | routed 12.5% | 41.2k tok/s | mfu 38% | eta 3m12s"
std::string progress_line(TrainState const& state, Schedule const& schedule, WindowReading const& reading, double learning_rate,
                          Speed const& speed);
std::string validation_line(TrainState const& state, Evaluation const& evaluation);

}  // namespace isobath
