#include "trainer/report/run_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>
#include <sstream>

#include "core/columns.h"
#include "core/error.h"
#include "core/units.h"
#include "trainer/report/record_number.h"

namespace isobath {
namespace {

using nlohmann::json;

ListedRun listed_run(fs::path const& folder) {
  ListedRun run;
  run.train_loss = run.causal_loss = run.tokens_per_s = std::numeric_limits<double>::quiet_NaN();
  std::istringstream lines(read_file(folder / "metrics.jsonl"));
  for (std::string line; std::getline(lines, line);) {
    json const record = json::parse(line, nullptr, false);
    if (!record.is_object()) continue;  // a line cut short
    std::string const kind = record.value("kind", "");
    run.step = std::max(run.step, record.value("step", int64_t{0}));
    run.train_loss = number(record, "train_loss", run.train_loss);
    run.causal_loss = number(record, "loss_causal", number(record, "loss_topk", run.causal_loss));
    run.tokens_per_s = number(record, "tokens_per_s", run.tokens_per_s);
    if (kind == "run") {
      run.planned_steps = record.value("steps", int64_t{0});
      run.state.clear();
    }
    if (kind == "end") run.state = record.value("status", "");
  }
  if (is_locked(folder / ".lock"))
    run.state = "running";
  else if (run.state.empty())
    run.state = "broken off";
  auto const written = fs::last_write_time(folder / "metrics.jsonl");
  run.age_s = std::chrono::duration<double>(fs::file_time_type::clock::now() - written).count();
  return run;
}

std::string cell(double value, char const* format) { return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : "-"; }

}  // namespace

std::vector<ListedRun> list_runs(fs::path const& folder) {
  if (!fs::is_directory(folder)) throw Error(ExitCode::data, folder.string() + " is no folder");
  std::vector<fs::path> found;
  if (fs::exists(folder / "metrics.jsonl")) found.push_back(folder);
  for (auto const& entry : fs::recursive_directory_iterator(folder, fs::directory_options::skip_permission_denied))
    if (entry.path().filename() == "metrics.jsonl" && entry.path().parent_path() != folder) found.push_back(entry.path().parent_path());
  std::sort(found.begin(), found.end());
  std::vector<ListedRun> runs;
  for (fs::path const& path : found) {
    runs.push_back(listed_run(path));
    runs.back().name = path == folder ? path.string() : path.lexically_relative(folder).string();
  }
  return runs;
}

std::string run_table(std::vector<ListedRun> const& runs) {
  std::vector<std::vector<std::string>> rows{{"run", "state", "step", "train loss", "causal loss", "tok/s", "last record"}};
  for (ListedRun const& run : runs)
    rows.push_back({run.name, run.state, fmt::format("{}/{}", run.step, run.planned_steps), cell(run.train_loss, "{:.4f}"),
                    cell(run.causal_loss, "{:.4f}"), std::isfinite(run.tokens_per_s) ? format_si(run.tokens_per_s) : "-",
                    format_seconds(run.age_s) + " ago"});
  return aligned_columns(rows);
}

}  // namespace isobath
