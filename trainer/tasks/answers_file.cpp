#include "trainer/tasks/answers_file.h"

#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"

namespace isobath {
namespace {

constexpr char const* answers_name = "task_answers.json";

}  // namespace

void write_task_answers(fs::path const& run_folder, AnswersByTask const& answers) {
  nlohmann::ordered_json json = nlohmann::ordered_json::array();
  for (auto const& [of, task] : answers) {
    std::string right;
    for (bool const one : task.right) right += one ? '1' : '0';
    json.push_back({{"task", of.first}, {"routing", of.second}, {"items_key", task.items_key}, {"metric", task.metric}, {"right", right}});
    if (task.groups.empty()) continue;
    std::set<std::string> const names(task.groups.begin(), task.groups.end());
    auto& place = json.back()["group"] = nlohmann::ordered_json::array();  // of each item, among the names
    for (std::string const& group : task.groups) place.push_back(std::distance(names.begin(), names.find(group)));
    json.back()["group_names"] = names;
  }
  write_file_atomic(run_folder / answers_name, json.dump(1) + "\n");
}

AnswersByTask read_task_answers(fs::path const& run_folder) {
  fs::path const path = run_folder / answers_name;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return {};
  AnswersByTask answers;
  try {
    for (auto const& entry : nlohmann::json::parse(read_file(path))) {
      TaskAnswers& task = answers[{entry.at("task"), entry.at("routing")}];
      task.items_key = entry.at("items_key");
      task.metric = entry.at("metric");
      for (char const c : entry.at("right").get<std::string>()) task.right.push_back(c == '1');
      if (entry.contains("group"))
        for (auto const& place : entry.at("group")) task.groups.push_back(entry.at("group_names").at(place.get<size_t>()));
    }
  } catch (nlohmann::json::exception const& error) {
    throw Error(ExitCode::data, path.string() + " is damaged: " + error.what());
  }
  return answers;
}

}  // namespace isobath
