#include "trainer/train/skipped_steps.h"

#include "core/log.h"
#include "trainer/run/checkpoint.h"

namespace isobath {
namespace {

constexpr int64_t most_skipped_in_a_row = 10;  // skipped steps in a row that end a run

}  // namespace

std::optional<std::string> why_diverged(WindowReading const& reading, TrainState const& state, RunFolder const& run) {
  int64_t const steps = state.window_steps;
  bool const first_window = steps == state.step;
  if (reading.streak < most_skipped_in_a_row && !(first_window && reading.skipped == steps)) return std::nullopt;
  std::vector<fs::path> const good = list_checkpoints(run.checkpoints());
  return "training diverged: at step " + std::to_string(state.step) + " the gradients of the last " + std::to_string(reading.streak) +
         " steps were not finite; " + (good.empty() ? "there is no checkpoint yet" : "last good checkpoint: " + good.back().string()) +
         "; try a smaller train.lr or a longer train.warmup";
}

void warn_of_skipped_steps(WindowReading const& reading, TrainState const& state) {
  int64_t const steps = state.window_steps;
  if (reading.skipped > 0) {
    log_warning(std::to_string(reading.skipped) + " of the " + std::to_string(steps) + " steps up to step " + std::to_string(state.step) +
                " had gradients that were not finite and were skipped");
  }
  if (reading.predictor_skipped > 0) {
    log_warning(std::to_string(reading.predictor_skipped) + " of the " + std::to_string(steps) + " steps up to step " +
                std::to_string(state.step) + " left the routers' predictors as they were, for their gradients were not finite" +
                (reading.predictor_streak >= most_skipped_in_a_row
                     ? "; so were those of the last " + std::to_string(reading.predictor_streak) +
                           " steps: the causal decisions no longer learn; try a smaller train.lr or depth.router_input: normalised"
                     : ""));
  }
}

}  // namespace isobath
