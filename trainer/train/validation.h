#pragma once
// What is measured when a run is validated.

#include <optional>
#include <string>
#include <vector>

#include "data/prepare.h"
#include "trainer/train/task_validation.h"

namespace isobath {

struct Validation {
  ValidationReading reading;
  std::vector<ScoredTask> tasks;
  std::string sample;  // continuation of eval.sample_prompt; empty: none
};

struct ValidatedModel {
  LanguageModel& model;
  PreparedData const& data;
  TokenStream const &train, &valid;
  TaskValidation& tasks;
};

// Calibrates, evaluates, scores the tasks and generates a sample; final: on eval.final_tokens, with the oracle of a nested model. The ranks
// share the work; only rank 0 generates the sample and measures the oracle. Returns nullopt when any rank was asked to stop.
std::optional<Validation> run_validation(Config const& config, ValidatedModel const& of, bool final, double train_seconds,
                                         Ranks const& ranks);

}  // namespace isobath
