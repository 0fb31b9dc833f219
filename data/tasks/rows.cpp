#include "data/tasks/rows.h"

#include <algorithm>

#include "core/error.h"
#include "data/sources/byte_reader.h"

namespace isobath {
namespace {

using JsonTree = nlohmann::json;

std::string type_of(JsonTree const& value) { return value.is_null() ? "empty (null)" : "a " + std::string(value.type_name()); }

}  // namespace

void TaskRow::fail(std::string const& what) const { throw Error(ExitCode::data, where + ": " + what); }

JsonTree const& TaskRow::at(std::string const& field) const {
  auto const found = values.find(field);
  if (found != values.end()) return *found;
  std::string names;
  for (auto const& [name, value] : values.items()) names += (names.empty() ? "" : ", ") + name;
  fail("no field '" + field + "' in this row, which has: " + (names.empty() ? "nothing" : names));
}

std::string TaskRow::text(std::string const& field) const {
  JsonTree const& value = at(field);
  if (value.is_string()) return value.get<std::string>();
  if (value.is_number()) return value.dump();
  fail("field '" + field + "' is " + type_of(value) + ", where a text or a number is needed");
}

std::vector<std::string> TaskRow::texts(std::string const& field) const {
  JsonTree const& value = at(field);
  if (!value.is_array()) fail("field '" + field + "' is " + type_of(value) + ", where a list of texts is needed");
  std::vector<std::string> items;
  for (JsonTree const& item : value) {
    if (!item.is_string()) fail("field '" + field + "': item " + std::to_string(items.size()) + " is " + type_of(item) + ", not a text");
    items.push_back(item.get<std::string>());
  }
  return items;
}

int64_t TaskRow::index(std::string const& field, int64_t below) const {
  JsonTree const& value = at(field);
  std::string const allowed =
      " (a whole number from 0 to " + std::to_string(below - 1) + ", for there are " + std::to_string(below) + " options)";
  if (!value.is_number_integer()) fail("field '" + field + "' is " + (value.is_number() ? value.dump() : type_of(value)) + allowed);
  auto const index = value.get<int64_t>();
  if (index < 0 || index >= below) fail("field '" + field + "' is " + std::to_string(index) + ", out of range" + allowed);
  return index;
}

fs::path find_task_source(fs::path const& folder, std::string const& name) {
  for (std::string const& inside : {std::string(), std::string("/requests.jsonl")})
    for (char const* compressed : {"", ".zst", ".gz"}) {
      fs::path const path = folder / (name + inside + compressed);
      std::error_code ignored;
      if (fs::is_regular_file(path, ignored)) return path;
    }
  throw Error(ExitCode::data,
              "there is no " + name + " (or .zst, .gz) in " + folder.string() +
                  ", which eval.tasks_folder names: scripts/get_tasks.sh fetches or converts the files of the shipped tasks");
}

void read_task_rows(fs::path const& file, std::function<void(TaskRow const&)> const& sink) {
  auto const bytes = open_bytes(file);
  LineReader lines(*bytes);
  TaskRow row;
  for (std::string line; lines.next(line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    row.line = lines.number();
    row.where = file.string() + ":" + std::to_string(row.line);
    row.values = JsonTree::parse(line, nullptr, /*allow_exceptions=*/false);
    if (!row.values.is_object()) row.fail("this line is no JSON object (a .jsonl file holds one a line)");
    sink(row);
  }
}

}  // namespace isobath
