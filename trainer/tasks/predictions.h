#pragma once
// What is written of a task: results as JSON, every item of `eval --predictions`.

#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "core/files.h"
#include "data/tasks/open_tasks.h"
#include "trainer/tasks/paired.h"
#include "trainer/tasks/result.h"

namespace isobath {

// Name, routing, main metric, metrics of the table, and groups.
nlohmann::ordered_json task_json(std::string const& name, std::string const& routing, TaskResult const& result);

// Answers of another model, as --predictions wrote them.
class EarlierAnswers {
 public:
  explicit EarlierAnswers(fs::path const& path);  // throws Error(data) naming the line that is no such record
  struct Item {
    int64_t given = 0;
    bool right = false;
  };
  // Of the item in this line of the task's source, under this routing or else under causal routing; null where there is none.
  Item const* find(std::string const& task, std::string const& routing, int64_t line) const;
  // Throws Error(data) where an item of the task has no answer under causal routing.
  void check(OpenedTask const& task) const;
  // The same task with the same items, paired.
  PairedTask compare(OpenedTask const& task, std::string const& routing, TaskResult const& result) const;

 private:
  fs::path path_;
  std::map<std::tuple<std::string, std::string, int64_t>, Item> items_;
};

// Writes one line an item.
void write_predictions(FileWriter& file, OpenedTask const& task, std::string const& routing, TaskScores const& scores,
                       TaskResult const& result, EarlierAnswers const* baseline);

}  // namespace isobath
