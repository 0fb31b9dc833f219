#pragma once
// What runs there are below a folder, and how they are. Uses no LibTorch.

#include <map>
#include <string>
#include <vector>

#include "core/files.h"
#include "trainer/report/run_progress.h"

namespace isobath {

struct ListedRun {
  std::string name;  // its folder, relative to the one that was searched
  RunStatus status;
};

struct RunGroup {
  std::string heading;  // of an experiment: "pair: 3 of 6 runs finished"; empty for runs that belong to none
  std::vector<ListedRun> runs;
};

// Every run at or below a folder, and those that its experiments have not started yet. May be asked again and again while they grow.
class RunList {
 public:
  explicit RunList(fs::path const& folder);  // throws Error(data) when the folder is missing
  void update();

  std::vector<RunGroup> const& groups() const { return groups_; }
  bool is_empty() const { return runs_.empty(); }
  bool is_anything_running() const { return running_; }  // a run, or `compare` itself
  std::string table() const;

 private:
  std::string name_of(fs::path const& path) const;
  fs::path experiment_of(fs::path const& run) const;  // empty: none

  fs::path folder_;
  std::map<fs::path, RunProgress> runs_;
  struct Experiment {
    std::vector<fs::path> runs;
    bool comparing = false;  // `compare` is at work
  };
  std::map<fs::path, Experiment> experiments_;
  std::vector<RunGroup> groups_;
  bool running_ = false;
};

// "step 120/340 35 % | loss 3.2100 | causal loss 3.4012 | 41.2k tok/s | eta 12s", without what is not known yet.
std::string run_line(RunStatus const& run);

// For a message about a folder that is no run: "; it holds the runs a, b, c and 2 more: ...", or nothing when it holds none.
std::string hint_at_runs(fs::path const& folder);

}  // namespace isobath
