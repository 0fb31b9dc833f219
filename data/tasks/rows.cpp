#include "data/tasks/rows.h"

#include "core/error.h"

namespace isobath {

fs::path find_task_source(fs::path const& folder, std::string const& name) {
  std::string compressed;
  for (std::string const& extension : packed_extensions()) compressed += (compressed.empty() ? "" : ", ") + extension;
  for (std::string const& inside : {std::string(), std::string("/requests.jsonl")}) {
    std::error_code ignored;
    fs::path const plain = folder / (name + inside);
    if (fs::is_regular_file(plain, ignored)) return plain;
    for (std::string const& extension : packed_extensions())
      if (fs::path const path = plain.string() + extension; fs::is_regular_file(path, ignored)) return path;
  }
  throw Error(ExitCode::data,
              "there is no " + name + " (or " + compressed + ") in " + folder.string() +
                  ", which eval.tasks_folder names: scripts/get_tasks.sh fetches or converts the files of the shipped tasks");
}

void read_task_rows(fs::path const& file, std::function<void(JsonRow const&)> const& sink) {
  TextFile text(file);
  JsonRowReader rows(text, file);
  for (JsonRow row; rows.next(row);) sink(row);
}

}  // namespace isobath
