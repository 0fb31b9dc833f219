#pragma once
// What of its machine this process may use: cores and memory.

#include <cstdint>
#include <functional>
#include <string>

#include "core/files.h"

namespace isobath {

// A limit, and the rule that it comes from, in words: "affinity mask", "cgroup memory.max".
struct Limit {
  int64_t value = 0;
  std::string rule;
};

// Where limits are looked up: the machine, or a test's copy of its files and variables.
struct LimitSources {
  fs::path root = "/";  // above proc/ and sys/
  std::function<char const*(char const* name)> variable;
  int64_t machine_cores = 0, affinity_cores = 0;
  static LimitSources of_this_process();
};

// The cores that this process and those that it starts may keep busy together: the fewest of the machine's, the affinity mask's and the
// cgroup's quota (rounded up).
Limit shared_cores();
Limit shared_cores(LimitSources const& sources);

// The cores that this process may keep busy: its part of shared_cores() among `sharing` processes, and no more than OMP_NUM_THREADS and
// SLURM_CPUS_PER_TASK, which are said of one process. At least 1.
Limit usable_cores(int64_t sharing = 1);
Limit usable_cores(LimitSources const& sources, int64_t sharing);

// The bytes that this process can still take: the least of the machine's free memory, what the cgroups leave (their caches count as free)
// and what RLIMIT_AS and RLIMIT_DATA leave. The machine's and the cgroups' are divided among `sharing` processes.
Limit free_memory(int64_t sharing = 1);
// The same of the files below sources.root, without the limits of this process.
Limit free_memory(LimitSources const& sources, int64_t sharing);

}  // namespace isobath
