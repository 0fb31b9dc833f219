// Metrics of the record `task`: one record a task and routing.
#include "trainer/metrics/metric.h"

namespace isobath {
namespace {

using Values = std::optional<MetricValues>;

template <typename Get>
Metric of_task(std::string key, std::string unit, std::string meaning, Get get) {
  return {std::move(key), std::move(unit), std::move(meaning), Read<TaskReading>([get](TaskReading const& task) -> Values {
            auto const value = static_cast<double>(get(task));
            return std::isnan(value) ? std::nullopt : Values(MetricValues{value});
          })};
}

// A value that the task file may ask for, and its interval.
void add_estimate(std::vector<Metric>& rows, std::string const& key, std::string unit, std::string meaning, std::string const& interval,
                  Estimate TaskReading::*estimate) {
  rows.push_back(of_task(key, std::move(unit), std::move(meaning), [estimate](TaskReading const& t) { return (t.*estimate).value; }));
  rows.push_back(Metric{
      key + "_ci95", "", "its 95 % confidence interval (" + interval + ")", Read<TaskReading>([estimate](TaskReading const& t) -> Values {
        Estimate const& e = t.*estimate;
        return std::isnan(e.value) ? std::nullopt : Values(MetricValues{e.low, e.high});
      })}.per(Each::bound));
}

}  // namespace

std::vector<Metric> task_metrics() {
  std::vector<Metric> rows{of_task("items", "", "questions that were scored", [](auto const& t) { return t.items; }).whole()};
  add_estimate(rows, "acc", "", "share of items whose right answer has the highest log-probability; a tie is wrong", "Wilson",
               &TaskReading::acc);
  add_estimate(rows, "acc_norm", "", "the same with log-probabilities divided by the characters of the option", "Wilson",
               &TaskReading::acc_norm);
  add_estimate(rows, "acc_bytes", "", "the same, divided by its UTF-8 bytes", "Wilson", &TaskReading::acc_bytes);
  add_estimate(rows, "bits_per_byte", "bits per byte", "of the right answer, given the prompt; mean over items", "bootstrap over items",
               &TaskReading::bits_per_byte);
  add_estimate(rows, "f1", "", "F1 of each answer, mean over the answers (macro)", "bootstrap over items", &TaskReading::f1);
  auto const add = [&](Metric row) { rows.push_back(std::move(row)); };
  add(of_task("acc_first", "", "`acc` where the first of equal scores wins, as in lm-evaluation-harness",
              [](auto const& t) { return t.acc_first; }));
  add(of_task("ties", "", "items whose right answer shares the highest score with another", [](auto const& t) { return t.ties; }).whole());
  add(of_task("chance", "", "accuracy of guessing", [](auto const& t) { return t.chance; }));
  add(of_task("majority", "", "accuracy of always giving the answer that is right most often", [](auto const& t) { return t.majority; }));
  add(of_task("cut_items", "", "items longer than the context, which lost their beginning", [](auto const& t) {
        return t.cut_items;
      }).whole());
  add(of_task("cut_tokens", "tokens", "what they lost", [](auto const& t) { return t.cut_tokens; }).whole());
  add(of_task("blocks_per_token", "", "layers that a token of this task went through, mean",
              [](auto const& t) { return t.blocks_per_token; }));
  add(of_task("kv_bytes_per_token", "bytes", "keys and values stored for a token of this task, mean",
              [](auto const& t) { return t.kv_bytes_per_token; }));
  add(of_task("tokens_per_s", "tokens/s", "tokens that were read in a second", [](auto const& t) { return t.tokens_per_s; }));
  add(of_task("read_tokens", "tokens", "tokens that were read", [](auto const& t) { return t.tokens; }).whole());
  add(of_task("tokens_not_read", "tokens", "of prompts that several options share: read once, not once an option", [](auto const& t) {
        return t.tokens_not_read;
      }).whole());
  add(of_task("score_s", "s", "what the scoring took", [](auto const& t) { return t.seconds; }));
  return rows;
}

}  // namespace isobath
