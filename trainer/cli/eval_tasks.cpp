#include "trainer/cli/eval_tasks.h"

#include <fmt/format.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <optional>

#include "core/columns.h"
#include "core/log.h"
#include "core/units.h"
#include "trainer/evaluate/task_evaluation.h"
#include "trainer/tasks/predictions.h"

namespace isobath {
namespace {

std::string percent(double share) { return std::isfinite(share) ? fmt::format("{:.1f}", 100 * share) : "-"; }

std::string with_interval(Estimate const& e) {
  return std::isfinite(e.value) ? fmt::format("{:.1f} ({:.1f} to {:.1f})", 100 * e.value, 100 * e.low, 100 * e.high) : "-";
}

// One line per task and routing; accuracies in per cent with their 95 % intervals.
std::string task_table(std::vector<ScoredTask> const& scored) {
  std::vector<std::vector<std::string>> rows{{"task", "routing", "items", "acc %", "acc_norm %", "acc_bytes %", "F1 %", "bits/byte",
                                              "chance", "majority", "depth", "KV/token", "tokens/s"}};
  for (ScoredTask const& task : scored) {
    TaskReading const& r = task.result.reading;
    rows.push_back({task.task->file.name, task.routing == "topk" ? "top-k, looks ahead" : task.routing, std::to_string(r.items),
                    with_interval(r.acc), with_interval(r.acc_norm), with_interval(r.acc_bytes), with_interval(r.f1),
                    fmt::format("{:.3f}", r.bits_per_byte.value), percent(r.chance), percent(r.majority),
                    fmt::format("{:.2f}", r.blocks_per_token), std::isnan(r.kv_bytes_per_token) ? "-" : format_bytes(r.kv_bytes_per_token),
                    format_si(r.tokens_per_s)});
  }
  for (size_t column : {6, 5, 4}) {  // metrics that no task asks for
    bool const empty = std::all_of(rows.begin() + 1, rows.end(), [&](auto const& row) { return row[column] == "-"; });
    if (empty)
      for (auto& row : rows) row.erase(row.begin() + static_cast<std::ptrdiff_t>(column));
  }
  return aligned_columns(rows);
}

// What a person should know beside the numbers.
std::string notes(std::vector<ScoredTask> const& scored) {
  std::string text;
  for (ScoredTask const& task : scored) {
    TaskReading const& r = task.result.reading;
    if (task.routing == "topk") continue;
    if (r.cut_items > 0)
      text += fmt::format("  {}: {} of {} items are longer than model.context and lost their first {} tokens in all\n",
                          task.task->file.name, r.cut_items, r.items, r.cut_tokens);
    if (r.ties > 0)
      text += fmt::format("  {}: {} ties count as wrong; where the first wins, as in lm-evaluation-harness, acc is {} %\n",
                          task.task->file.name, r.ties, percent(r.acc_first));
  }
  return text;
}

std::string paired_line(ScoredTask const& task, PairedTask const& paired) {
  return fmt::format(
      "  {} ({}) against the baseline: {:+.1f} points ({:+.1f} to {:+.1f}), {} to {} of the items where one alone is right, "
      "McNemar p {:.3g}\n",
      task.task->file.name, task.routing, 100 * paired.difference.value, 100 * paired.difference.low, 100 * paired.difference.high,
      paired.only_model, paired.only_baseline, paired.mcnemar.front());
}

}  // namespace

std::string add_tasks(Checkpoint const& checkpoint, Config const& config, LanguageModel& model, TaskOptions const& options,
                      nlohmann::ordered_json& result, Ranks const& ranks) {
  std::vector<OpenedTask> const tasks = open_tasks(config.eval, config.eval.final_task_items);
  std::optional<EarlierAnswers> baseline;
  if (!options.against.empty()) baseline.emplace(expand_user(options.against));
  for (OpenedTask const& task : tasks)
    if (baseline) baseline->check(task);
  std::optional<FileWriter> file;
  if (!options.predictions.empty() && ranks.is_first()) file.emplace(output_file(options.predictions, "--predictions"));
  auto const scored =
      evaluate_tasks(model, *checkpoint.tokenizer, tasks, config.eval.routing, static_cast<uint64_t>(config.seed), ranks.across());
  std::string text = task_table(scored) + notes(scored);
  for (ScoredTask const& task : scored) {
    nlohmann::ordered_json record = task_json(task.task->file.name, task.routing, task.result);
    if (baseline) {
      PairedTask const paired = baseline->compare(*task.task, task.routing, task.result);
      record["against"] = {{"difference", paired.difference.value},
                           {"difference_ci95", {paired.difference.low, paired.difference.high}},
                           {"only_model_right", paired.only_model},
                           {"only_baseline_right", paired.only_baseline},
                           {"mcnemar_p", paired.mcnemar.front()}};
      text += paired_line(task, paired);
    }
    result["tasks"].push_back(std::move(record));
    if (file) write_predictions(*file, *task.task, task.routing, task.scores, task.result, baseline ? &*baseline : nullptr);
  }
  if (file) {
    file->finish();
    log_info("wrote " + options.predictions);
  }
  return text;
}

}  // namespace isobath
