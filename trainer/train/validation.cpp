#include "trainer/train/validation.h"

#include <chrono>

#include "core/stop.h"
#include "trainer/evaluate/evaluate.h"
#include "trainer/evaluate/oracle.h"
#include "trainer/evaluate/sample.h"
#include "trainer/train/best_validation.h"

namespace isobath {
namespace {

std::string write_sample(Config const& config, LanguageModel& model, Tokenizer const& tokenizer) {
  GenerateSettings sampling;
  sampling.max_tokens = config.eval.sample_tokens;
  sampling.sampler = {0.8, 0, 1, static_cast<uint64_t>(config.seed)};
  sampling.stop_token = tokenizer.document_end();
  sampling.window = true;
  return sample_text(model, tokenizer, config.eval.sample_prompt, sampling);
}

}  // namespace

std::optional<Validation> run_validation(Config const& config, ValidatedModel const& of, bool final, double train_seconds,
                                         Ranks const& ranks) {
  auto const start = std::chrono::steady_clock::now();
  LanguageModel& model = of.model;
  Tokenizer const& tokenizer = *of.data.tokenizer;
  if (model.plan().capacity_changes()) model.set_capacities(model.plan().capacities());
  EvalSettings settings = eval_settings(config, model);
  settings.ranks = ranks.across();
  if (!final) settings.tokens = config.eval.tokens;
  int64_t const calibration_tokens =
      settings.routing == EvalRouting::topk ? 0 : calibrate(model, of.train, config.eval.calibration_tokens, settings);
  auto const windows = validation_windows(of.valid, model, settings);
  auto evaluation = evaluate(model, *windows, tokenizer, settings, [] { return stop_requested() != 0; });
  if (!evaluation) return std::nullopt;
  evaluation->calibration_tokens = calibration_tokens;
  std::chrono::duration<double> const seconds = std::chrono::steady_clock::now() - start;

  Validation validation;
  validation.reading = {*evaluation, {}, train_seconds, seconds.count()};
  if (!final && config.eval.sample_tokens > 0 && ranks.is_first()) validation.sample = write_sample(config, model, tokenizer);
  auto tasks = of.tasks.score(model, tokenizer, final, ranks);
  if (!tasks) return std::nullopt;
  validation.tasks = std::move(*tasks);
  validation.reading.accuracy = mean_accuracy(validation.tasks);
  if (final && ranks.is_first())
    validation.reading.oracle = measure_branch_oracle(model, *windows, evaluation->causal_or_topk().mean_depth, settings);
  return validation;
}

}  // namespace isobath
