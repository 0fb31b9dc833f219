#include "trainer/run/run_folder.h"

#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/process.h"
#include "trainer/run/checkpoint.h"
#include "trainer/run/machine.h"

namespace isobath {

namespace {

// What killed processes have left beside the files of a run that this process has locked.
void remove_temporary_files(fs::path const& root) {
  std::vector<fs::path> found;
  std::error_code ignored;
  for (auto const& entry : fs::directory_iterator(root, ignored)) {
    std::string const name = entry.path().filename().string();
    if (name.find(".tmp-") != std::string::npos || name == "latest.tmp" || name == "best.tmp" || name == "latest.old" || name == "best.old")
      found.push_back(entry.path());
  }
  for (fs::path const& path : found) fs::remove_all(path, ignored);
}

}  // namespace

std::string command_line() {
  std::string line;
  for (std::string word : command_words()) {
    if (word.empty() || word.find_first_of(" \t\n'\"\\$`*?[]{}()<>|&;#~!") != std::string::npos) {
      for (size_t at = 0; (at = word.find('\'', at)) != std::string::npos; at += 4) word.replace(at, 1, "'\\''");
      word = "'" + word + "'";
    }
    line += (line.empty() ? "" : " ") + word;
  }
  return line;
}

RunFolder::RunFolder(Config const& config) : root_(expand_user(config.run_dir) / config.name) {
  std::error_code error;
  fs::create_directories(root_, error);
  if (error) throw Error(ExitCode::disk, "cannot make the run folder " + root_.string() + ": " + error.message());
  fs::path const lock = root_ / ".lock";
  try {
    lock_ = std::make_unique<FileLock>(lock, /*wait=*/false);
  } catch (Error const& problem) {
    if (std::string(problem.what()).find("another process") == std::string::npos) throw;
    throw Error(ExitCode::config, "another process is training in " + root_.string() + "; wait for it, or give this run another name=");
  }
  remove_temporary_files(root_);
  remove_leftovers(checkpoints());
}

RunFolder RunFolder::of_other_rank(Config const& config) {
  fs::path const root = expand_user(config.run_dir) / config.name;
  if (!fs::exists(root / ".lock"))
    throw Error(ExitCode::distributed,
                "the run folder " + root.string() +
                    ", which rank 0 has made, does not exist here: run_dir must lie on a file system that all ranks share");
  return RunFolder(root);
}

fs::path RunFolder::checkpoint(int64_t step) const { return checkpoints() / checkpoint_name(step); }

void RunFolder::write_description(Config const& config, Machine const& machine) const {
  write_file_atomic(root_ / "config.yaml", to_yaml(with_absolute_paths(config)));
  fs::path const commands = root_ / "command.txt";
  write_file_atomic(commands, (fs::exists(commands) ? read_file(commands) : std::string()) + command_line() + "\n");
  write_file_atomic(root_ / "environment.json", environment_json(machine).dump(2) + "\n");
}

void RunFolder::update_links_and_prune(int64_t latest_step, int64_t best_step, int64_t keep) const {
  fs::path const folder = checkpoints().filename();
  point_link(root_ / "latest", folder / checkpoint_name(latest_step));
  if (best_step >= 0 && fs::exists(checkpoint(best_step))) point_link(root_ / "best", folder / checkpoint_name(best_step));
  prune_checkpoints(checkpoints(), keep, {latest_step, best_step});
}

std::vector<ConfigDifference> check_resume(Config const& before, Config const& now, fs::path const& root) {
  std::vector<ConfigDifference> schedule;
  std::string identity;
  for (ConfigDifference& difference : resume_differences(before, now)) {
    if (difference.resume == ResumeClass::identity)
      identity += "\n  " + difference.path + ": " + difference.before + " there, " + difference.after + " here";
    if (difference.resume == ResumeClass::schedule) schedule.push_back(std::move(difference));
  }
  if (!identity.empty()) {
    throw Error(ExitCode::config, root.string() + " holds a different run:" + identity + "\n  give this one another name= (or run_dir=)");
  }
  return schedule;
}

}  // namespace isobath
