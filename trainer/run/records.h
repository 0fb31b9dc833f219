#pragma once
// Formats the records of metrics.jsonl (their metrics come from the table in trainer/metrics) and the progress lines, from values that are
// on the host.

#include <nlohmann/json_fwd.hpp>
#include <string>

#include "data/prepare.h"
#include "trainer/evaluate/task_evaluation.h"
#include "trainer/metrics/readings.h"
#include "trainer/run/machine.h"
#include "trainer/run/state.h"
#include "trainer/schedule/schedule.h"
#include "trainer/train/step.h"

namespace isobath {

// decides: see routing_rates.
WindowReading read_window(MetricWindow const& window, int64_t tokens, bool decides = true);

// How long a run is to be, on which text.
struct PlannedRun {
  Schedule const& schedule;
  PreparedData const& data;
  double epochs = 0;
};
// Written at the start of a run and at every change of its schedule. epochs: planned.
nlohmann::ordered_json run_record(TrainState const& state, Config const& config, Machine const& machine, PeakFlops const& peak,
                                  PlannedRun const& plan);
nlohmann::ordered_json train_record(TrainState const& state, TrainReading const& reading);
// `sample`: continuation of eval.sample_prompt, may be empty.
nlohmann::ordered_json validation_record(TrainState const& state, ValidationReading const& reading, bool final, std::string const& sample);
nlohmann::ordered_json task_record(TrainState const& state, ScoredTask const& task, bool final);
nlohmann::ordered_json checkpoint_record(TrainState const& state, std::string const& path, std::string const& reason);
EndReading totals_of(TrainState const& state);  // what `end` says of the whole run; the rest is not measured
nlohmann::ordered_json end_record(TrainState const& state, std::string const& status, EndReading const& reading);

// "step 1200/20000 6.0% | loss 3.412 | lr 3.0e-04 | gnorm 0.84 | routed 12.5% | 41.2k tok/s | mfu 38% | eta 3m12s"
std::string progress_line(TrainState const& state, Schedule const& schedule, TrainReading const& reading);
// final: on eval.final_tokens; otherwise a point of the curve, on eval.tokens.
std::string validation_line(int64_t step, Evaluation const& evaluation, bool final);

}  // namespace isobath
