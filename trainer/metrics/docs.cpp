// The table of metrics in words: docs/metrics.md, and the description that the page of a report is drawn from.
#include <fmt/format.h>

#include <array>
#include <nlohmann/json.hpp>

#include "trainer/metrics/metric.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array each_names{"run", "routed_layer", "branch", "bound"};
constexpr std::array seeds_names{"spread", "mean", "median", "most"};
constexpr std::array format_names{"decimals", "percent", "signed_percent", "si", "bytes", "milliseconds", "duration", "scientific"};
constexpr std::array group_names{"none", "quality", "compute", "speed", "depth", "routing", "decoding", "training"};

template <typename Names, typename E>
char const* name_of(Names const& names, E value) {
  return names.at(static_cast<size_t>(value));
}

// The kinds of records, in the order of Metric::source.
constexpr std::array<std::pair<char const*, char const*>, 7> sections{{
    {"`run` records", "Written when a run starts and when its schedule changes: what is planned."},
    {"`train` records",
     "Every `train.log_every` steps: means over the steps since the last one, unless a row says otherwise. Reports draw the loss, the "
     "learning rate and the norm of the gradients as curves."},
    {"`validation` records",
     "Every `eval.every` on `eval.tokens` of validation text, and at the end (`final: true`) on `eval.final_tokens`, the result that "
     "reports "
     "take. Values of layers are those under causal routing."},
    {"`end` records", "Written when a process leaves a run; a resumed run has several."},
    {"decode.json", "What `compare` measures of each arm after training, at one or more batch sizes; `arms[].decoding[]` in report.json."},
    {"`task` records",
     "One a task and routing after each validation (on `eval.task_items`) and at the end of a run (`final: true`, on "
     "`eval.final_task_items`). "
     "Accuracies are those that the task file asks for."},
    {"Derived in reports", "Computed for each run from its configuration and the metrics above; not in any record."},
}};

std::string aggregation(Metric const& metric) {
  if (!metric.in_reports()) return "";
  switch (metric.over_seeds) {
    case OverSeeds::spread:
      return "mean, deviation";
    case OverSeeds::mean:
      return metric.each == Each::branch || metric.each == Each::bound ? "not shown" : "mean";
    case OverSeeds::median:
      return "median";
    case OverSeeds::most:
      return "largest";
  }
  return "";
}

std::string documentation_row(Metric const& metric) {
  std::string const brackets = metric.each == Each::run ? "" : "[]";
  std::string const in_report = metric.report_key == metric.key ? "" : fmt::format("; `{}` in reports", metric.report_key);
  char const* const each = metric.each == Each::run            ? ""
                           : metric.each == Each::routed_layer ? "; one a routed layer"
                           : metric.each == Each::branch       ? "; one a branch"
                                                               : "; lower and upper";
  return fmt::format("| `{}{}` | {} | {} | {}{}{} |\n", metric.key, brackets, metric.unit, aggregation(metric), metric.meaning, each,
                     in_report);
}

}  // namespace

std::string metric_documentation() {
  std::string text =
      "# Metrics\n\n"
      "Printed by `isobath report --metrics` from the table that records, reports and pages are written from (`trainer/metrics`).\n\n"
      "`metrics.jsonl` holds one object a line. Besides the keys below every record has `kind` and `step`; `train`, `validation`, "
      "`checkpoint` and `end` have `tokens` and `train_flops_total`, the exact total of realised training FLOPs: a number up to 2^53 and "
      "above it its digits as text. What was not measured is null. Values that are no metrics stand in [checkpoints](checkpoints.md).\n\n"
      "*Over seeds* says how reports make one value of an arm's seeds; values of layers are pooled with them. A key that ends with `[]` "
      "has "
      "a list.\n";
  for (size_t kind = 0; kind < sections.size(); ++kind) {
    text += fmt::format("\n## {}\n\n{}\n\n| key | unit | over seeds | meaning |\n|---|---|---|---|\n", sections[kind].first,
                        sections[kind].second);
    for (Metric const& metric : all_metrics())
      if (metric.source.index() == kind) text += documentation_row(metric);
  }
  return text;
}

Json metrics_description() {
  Json all = Json::array();
  for (Metric const& metric : all_metrics()) {
    if (metric.group == Group::none) continue;
    all.push_back({{"key", metric.report_key},
                   {"label", metric.label},
                   {"unit", metric.unit},
                   {"meaning", metric.meaning},
                   {"group", name_of(group_names, metric.group)},
                   {"each", name_of(each_names, metric.each)},
                   {"over_seeds", name_of(seeds_names, metric.over_seeds)},
                   {"format", name_of(format_names, metric.format)},
                   {"digits", metric.digits}});
  }
  return all;
}

}  // namespace isobath
