#pragma once
// Several machines that divide an experiment, and the locks that keep them apart. Uses no LibTorch.

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "core/files.h"
#include "trainer/compare/experiment.h"

namespace isobath {

// Part `index` of `count` of an experiment's runs.
struct ExperimentShard {
  int64_t index = 1, count = 1;  // counted from 1
  bool is_all() const { return count == 1; }
  std::string text() const;  // "2/4"
};

ExperimentShard parse_shard(std::string const& text);  // throws Error(config) for anything but i/n with 1 <= i <= n
// Every count-th run, beginning with number `index`: each run of an experiment belongs to exactly one shard.
std::vector<ExperimentRun> of_shard(std::vector<ExperimentRun> const& runs, ExperimentShard const& shard);

// Held while runs of an experiment are run: other shards of the same count may run beside it, the same shard and the whole experiment may
// not.
class ExperimentLock {
 public:
  ExperimentLock(fs::path const& folder, ExperimentShard const& shard);  // throws Error(config) when another process is in the way

 private:
  std::vector<std::unique_ptr<FileLock>> held_;
};

}  // namespace isobath
