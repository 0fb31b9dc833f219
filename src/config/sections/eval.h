#pragma once
// `eval`: validation during training and at its end.

#include <cstdint>
#include <string>
#include <vector>

#include "config/choice.h"
#include "core/units.h"

namespace isobath {

enum class EvalRouting { topk, causal, both };
template <>
struct ChoiceNames<EvalRouting> {
  static constexpr std::array names{"topk", "causal", "both"};
};

enum class CalibrationBudget { layer, model };
template <>
struct ChoiceNames<CalibrationBudget> {
  static constexpr std::array names{"layer", "model"};
};

struct EvalConfig {
  Duration every{25, Unit::percent};
  int64_t tokens = 16384;    // 0: all of the validation text
  int64_t final_tokens = 0;  // same, for the evaluation that ends a run
  Choice<EvalRouting> routing = EvalRouting::both;
  int64_t calibration_tokens = 16384;  // 0: off
  Choice<CalibrationBudget> calibration_budget = CalibrationBudget::layer;
  int64_t sample_tokens = 64;  // length of the text sample; 0: none
  std::string sample_prompt;
  std::vector<std::string> tasks;  // task files (docs/tasks.md)
  std::string tasks_folder = "~/.cache/isobath/tasks";
  int64_t task_items = 200;      // of each task at a validation during training; 0: all
  int64_t final_task_items = 0;  // same, at the end
};

}  // namespace isobath
