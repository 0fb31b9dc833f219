#include "trainer/tasks/predictions.h"

#include <nlohmann/json.hpp>
#include <tuple>

#include "core/error.h"
#include "data/tasks/rows.h"
#include "trainer/metrics/metric.h"

namespace isobath {

using Json = nlohmann::ordered_json;

Json task_json(std::string const& name, std::string const& routing, TaskResult const& result) {
  Json json{{"task", name}, {"routing", routing}, {"looks_ahead", routing == "topk"}, {"main_metric", result.main_metric}};
  json.update(metrics_json(result.reading));
  for (auto const& [group, value] : result.groups)
    json["groups"][group] = {{"items", value.first}, {"acc", value.second.value}, {"acc_ci95", {value.second.low, value.second.high}}};
  return json;
}

EarlierAnswers::EarlierAnswers(fs::path const& path) : path_(path) {
  read_task_rows(path, [&](JsonRow const& row) {
    auto const given = row.values.find("given"), right = row.values.find("right"), line = row.values.find("line");
    if (given == row.values.end() || !given->is_number_integer() || right == row.values.end() || !right->is_boolean() ||
        line == row.values.end() || !line->is_number_integer())
      row.fail("this is no record of `isobath eval --predictions` (it has task, routing, line, given, right)");
    items_[{row.text("task"), row.text("routing"), line->get<int64_t>()}] = {given->get<int64_t>(), right->get<bool>()};
  });
}

EarlierAnswers::Item const* EarlierAnswers::find(std::string const& task, std::string const& routing, int64_t line) const {
  auto found = items_.find({task, routing, line});
  // A model without routers answers alike under both routings and is recorded as causal.
  if (found == items_.end()) found = items_.find({task, "causal", line});
  return found == items_.end() ? nullptr : &found->second;
}

void EarlierAnswers::check(OpenedTask const& task) const {
  for (TaskItem const& item : task.items.items)
    if (!find(task.file.name, "causal", item.line))
      throw Error(ExitCode::data, path_.string() + " has no answer under causal routing of " + task.file.name + " to line " +
                                      std::to_string(item.line) + ": it must hold the same items");
}

PairedTask EarlierAnswers::compare(OpenedTask const& task, std::string const& routing, TaskResult const& result) const {
  std::vector<bool> mine, theirs;
  for (size_t i = 0; i < result.answers.size(); ++i) {
    mine.push_back(result.answers[i].right);
    theirs.push_back(find(task.file.name, routing, task.items.items[i].line)->right);
  }
  return compare_answers({mine}, {theirs});
}

void write_predictions(FileWriter& file, OpenedTask const& task, std::string const& routing, TaskScores const& scores,
                       TaskResult const& result, EarlierAnswers const* baseline) {
  for (size_t i = 0; i < scores.items.size(); ++i) {
    TaskItem const& item = task.items.items[i];
    ItemScore const& score = scores.items[i];
    Json record{{"task", task.file.name}, {"routing", routing}, {"line", item.line}};
    if (!item.group.empty()) record["group"] = item.group;
    record["answer"] = item.answer;
    record["given"] = result.answers[i].given;
    record["right"] = result.answers[i].right;
    if (auto const* const other = baseline ? baseline->find(task.file.name, routing, item.line) : nullptr) {
      record["baseline_given"] = other->given;
      record["baseline_right"] = other->right;
    }
    record["prompt_depth"] = score.prompt_depth;
    record["options"] = Json::array();
    for (size_t o = 0; o < item.options.size(); ++o) {
      OptionScore const& option = score.options[o];
      record["options"].push_back({{"text", item.options[o].choice},
                                   {"answer", item.options[o].answer},
                                   {"log_probability", finite_or_null(option.log_probability)},
                                   {"tokens", option.tokens},
                                   {"greedy", option.greedy},
                                   {"cut", option.cut},
                                   {"depth", option.depth}});
    }
    file.write(record.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  }
}

}  // namespace isobath
