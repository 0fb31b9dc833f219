#pragma once
// The folder of one run: RUN_DIR/NAME/{config.yaml, command.txt, environment.json, train.log, metrics.jsonl, checkpoints/, latest, best}.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/io.h"
#include "core/files.h"
#include "trainer/run/state.h"

namespace isobath {

class RunFolder {
 public:
  // Creates the folder and locks it against other training processes for this object's lifetime. Throws Error(config) when one holds the
  // lock.
  explicit RunFolder(Config const& config);
  // Of another rank than 0, which has made and locked the folder. Throws Error(distributed) when it is not to be seen from here.
  static RunFolder of_other_rank(Config const& config);

  fs::path const& root() const { return root_; }
  fs::path metrics() const { return root_ / "metrics.jsonl"; }
  fs::path checkpoints() const { return root_ / "checkpoints"; }
  fs::path checkpoint(int64_t step) const;

  // Writes config.yaml and environment.json, and appends the command line of this process to command.txt.
  void write_description(Config const& config, Machine const& machine) const;
  // Points `latest` at its checkpoint, and `best` when best_step has one; then deletes all others but the newest `keep`.
  void update_links_and_prune(int64_t latest_step, int64_t best_step, int64_t keep) const;

 private:
  explicit RunFolder(fs::path root) : root_(std::move(root)) {}
  fs::path root_;
  std::unique_ptr<FileLock> lock_;
};

std::string command_line();  // of this process, quoted for a shell

// Compares the configuration of a checkpoint with the one given now. Throws Error(config) that lists differences which make it a different
// run; returns those that change only its schedule.
std::vector<ConfigDifference> check_resume(Config const& before, Config const& now, fs::path const& root);

}  // namespace isobath
