#pragma once
// Rows of a task's files.

#include <functional>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "core/files.h"

namespace isobath {

struct TaskRow {
  nlohmann::json values;  // an object
  int64_t line = 0;

  // A field as text; numbers in their shortest form. Throws Error(data) with file, line, and the fields that there are.
  std::string text(std::string const& field) const;
  // The items of a list of texts.
  std::vector<std::string> texts(std::string const& field) const;
  // A whole number from 0 to `below` - 1.
  int64_t index(std::string const& field, int64_t below) const;
  [[noreturn]] void fail(std::string const& what) const;

  std::string where;  // "FILE:LINE"
 private:
  nlohmann::json const& at(std::string const& field) const;
};

// FILE, FILE.zst or FILE.gz in `folder`, or a folder with requests.jsonl in it. Throws Error(data).
fs::path find_task_source(fs::path const& folder, std::string const& name);
// Calls `sink` for each row of a .jsonl file. Throws Error(data) naming the line that is no JSON object.
void read_task_rows(fs::path const& file, std::function<void(TaskRow const&)> const& sink);

}  // namespace isobath
