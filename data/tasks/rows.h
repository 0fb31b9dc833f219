#pragma once
// Rows of a task's files.

#include <functional>
#include <string>

#include "data/sources/json_rows.h"

namespace isobath {

// FILE in `folder`, perhaps compressed (FILE.zst, FILE.gz, ...), or a folder with requests.jsonl in it. Throws Error(data).
fs::path find_task_source(fs::path const& folder, std::string const& name);
// Calls `sink` for each row. Throws Error(data) naming the line of one that is no JSON object.
void read_task_rows(fs::path const& file, std::function<void(JsonRow const&)> const& sink);

}  // namespace isobath
