#pragma once
// Where one run lives: RUN_DIR/NAME/{config.yaml, command.txt, environment.json, train.log, metrics.jsonl, checkpoints/, latest, best}.

#include <memory>
#include <optional>
#include <vector>

#include "config/config.h"
#include "config/io.h"
#include "core/files.h"
#include "trainer/run/state.h"

namespace isobath {

class RunFolder {
 public:
  // Creates the folder and keeps every other process from training in it for this object's life. Throws Error(config) when one does.
  explicit RunFolder(Config const& config);

  fs::path const& root() const { return root_; }
  fs::path metrics() const { return root_ / "metrics.jsonl"; }
  fs::path checkpoints() const { return root_ / "checkpoints"; }
  fs::path checkpoint(int64_t step) const;

  // The configuration, how the run was started (one line a start) and on what machine.
  void describe(Config const& config, Machine const& machine) const;
  // `latest`, and `best` when best_step is a checkpoint; then everything that is neither, and older than the newest `keep`, goes.
  void tidy(int64_t latest_step, int64_t best_step, int64_t keep) const;

 private:
  fs::path root_;
  std::unique_ptr<FileLock> lock_;
};

// Differences between the configuration of a checkpoint and the one now given that matter to a resume. Throws Error(config)
// listing those that make it another run; returns those that change its schedule.
std::vector<ConfigDifference> check_resume(Config const& before, Config const& now, fs::path const& root);

}  // namespace isobath
