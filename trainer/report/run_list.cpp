#include "trainer/report/run_list.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "config/io.h"
#include "core/columns.h"
#include "core/error.h"
#include "core/units.h"

namespace isobath {
namespace {

// Calls found(path) for what lies below `folder`, down to `most_depth` folders; checkpoints aside.
template <typename Found>
void walk(fs::path const& folder, int most_depth, Found found) {
  std::error_code gone;  // a folder may vanish meanwhile; what is left is found the next time
  fs::recursive_directory_iterator entry(folder, fs::directory_options::skip_permission_denied, gone), end;
  for (; !gone && entry != end; entry.increment(gone)) {
    found(entry->path());
    if (entry->path().filename() == "checkpoints" || entry.depth() >= most_depth) entry.disable_recursion_pending();
  }
}

std::vector<fs::path> runs_of_experiment(fs::path const& folder) {
  std::vector<fs::path> runs;
  try {
    CompareConfig const compare = load_config(folder / "experiment.yaml", {}).config.compare;
    for (RunId const& run : experiment_runs(compare)) runs.push_back(folder / run.path());
  } catch (Error const&) {  // not one that this version reads: its runs are listed as far as they have begun
  }
  return runs;
}

std::string cell(double value, char const* format) { return std::isfinite(value) ? fmt::format(fmt::runtime(format), value) : "-"; }

std::vector<std::string> table_row(ListedRun const& run) {
  RunStatus const& status = run.status;
  double const left = status.seconds_left();
  bool const begun = status.planned_steps > 0;
  return {run.name,
          status.state,
          begun ? fmt::format("{}/{}", status.step, status.planned_steps) : "-",
          begun ? fmt::format("{} %", status.percent_of_steps()) : "-",
          cell(status.train_loss, "{:.4f}"),
          cell(status.causal_loss, "{:.4f}"),
          std::isfinite(status.tokens_per_s) ? format_si(status.tokens_per_s) : "-",
          std::isfinite(left) ? format_seconds(left) : "-",
          begun ? format_seconds(status.age_s) + " ago" : "-"};
}

}  // namespace

RunList::RunList(fs::path const& folder) : folder_(without_last_slash(folder)) {
  if (!fs::is_directory(folder_)) throw Error(ExitCode::data, folder_.string() + " is no folder");
}

std::string RunList::name_of(fs::path const& path) const {
  return path == folder_ ? path.string() : path.lexically_relative(folder_).string();
}

fs::path RunList::experiment_of(fs::path const& run) const {
  for (fs::path at = run;; at = at.parent_path()) {
    if (experiments_.contains(at)) return at;
    if (at == folder_ || !at.has_relative_path()) return {};
  }
}

void RunList::update() {
  constexpr int any_depth = 1 << 20;
  walk(folder_, any_depth, [&](fs::path const& path) {
    if (path.filename() == "metrics.jsonl") runs_.try_emplace(path.parent_path(), path.parent_path());
    if (path.filename() == "experiment.yaml") experiments_[path.parent_path()];
  });
  // A run that was just started has no records yet.
  if (!experiments_.contains(folder_) && is_locked(folder_ / ".lock")) runs_.try_emplace(folder_, folder_);
  std::map<fs::path, RunGroup> groups;
  running_ = false;
  for (auto& [folder, experiment] : experiments_) {
    experiment.comparing = is_locked(folder / ".lock");  // asked before its runs: while it is held, another one may start
    experiment.runs = runs_of_experiment(folder);
    for (fs::path const& run : experiment.runs) runs_.try_emplace(run, run);
    running_ = running_ || experiment.comparing;
    groups[folder];
  }
  for (auto& [folder, progress] : runs_) {
    groups[experiment_of(folder)].runs.push_back({name_of(folder), progress.update()});
    running_ = running_ || progress.now().state == "running";
  }
  groups_.clear();
  for (auto& [folder, group] : groups) {
    if (!folder.empty()) {
      Experiment const& experiment = experiments_.at(folder);
      auto const finished = std::count_if(experiment.runs.begin(), experiment.runs.end(),
                                          [&](fs::path const& run) { return runs_.at(run).now().state == "finished"; });
      bool const all = finished == std::ssize(experiment.runs);
      group.heading = fmt::format("{}: {} of {} runs finished{}", name_of(folder), finished, experiment.runs.size(),
                                  !experiment.comparing ? ""
                                  : all                 ? "; compare measures decoding and writes the report"
                                                        : "; compare is at work");
    }
    groups_.push_back(std::move(group));
  }
}

std::string RunList::table() const {
  std::vector<std::vector<std::string>> rows{{"run", "state", "step", "done", "train loss", "causal loss", "tok/s", "eta", "last record"}};
  for (RunGroup const& group : groups_)
    for (ListedRun const& run : group.runs) rows.push_back(table_row(run));
  std::istringstream lines(aligned_columns(rows));
  std::string text, line;
  std::getline(lines, line);
  text = line + "\n";
  for (RunGroup const& group : groups_) {
    if (!group.heading.empty()) text += group.heading + "\n";
    for (size_t i = 0; i < group.runs.size(); ++i) {
      std::getline(lines, line);
      text += line + "\n";
    }
  }
  return text;
}

std::string run_line(RunStatus const& run) {
  std::string line = fmt::format("step {}/{} {} %", run.step, run.planned_steps, run.percent_of_steps());
  if (std::isfinite(run.train_loss)) line += fmt::format(" | loss {:.4f}", run.train_loss);
  if (std::isfinite(run.causal_loss)) line += fmt::format(" | causal loss {:.4f}", run.causal_loss);
  if (std::isfinite(run.tokens_per_s)) line += " | " + format_si(run.tokens_per_s) + " tok/s";
  if (double const left = run.seconds_left(); std::isfinite(left)) line += " | eta " + format_seconds(left);
  return line;
}

std::string hint_at_runs(fs::path const& folder) {
  constexpr int most_depth = 5;  // RUN_DIR/NAME/ARM/BUDGET/SIZE/seed-N: a person may have named something much larger
  constexpr size_t most_names = 3;
  fs::path const top = without_last_slash(folder);
  std::vector<std::string> found;
  walk(top, most_depth, [&](fs::path const& path) {
    if (path.filename() == "metrics.jsonl") found.push_back(path.parent_path().string());
  });
  if (found.empty()) return "";
  std::sort(found.begin(), found.end());
  size_t const shown = std::min(found.size(), most_names);
  std::string const rest = found.size() > shown ? fmt::format(" and {} more", found.size() - shown) : "";
  found.resize(shown);
  return fmt::format("; there {} in it, name one: {}{} ('isobath runs {}' says how they are)", shown == 1 ? "is a run" : "are runs",
                     fmt::join(found, ", "), rest, top.string());
}

}  // namespace isobath
