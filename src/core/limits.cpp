#include "core/limits.h"

#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <optional>
#include <sstream>
#include <vector>

namespace isobath {
namespace {

constexpr int64_t unlimited = std::numeric_limits<int64_t>::max();

// The number that a file or a variable begins with; nothing for "max" and for what is not there.
std::optional<int64_t> number_of(std::string const& text) {
  int64_t value = 0;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  return error == std::errc() && end != text.data() ? std::optional(value) : std::nullopt;
}

std::string content(fs::path const& path) {
  std::ifstream file(path);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The number behind `name` in lines of the form "name 123 kB" or "name: 123 kB".
std::optional<int64_t> number_after(std::string const& text, std::string const& name) {
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    size_t const digits = line.find_first_not_of(": \t", name.size());
    if (line.starts_with(name) && digits != std::string::npos && digits > name.size()) return number_of(line.substr(digits));
  }
  return std::nullopt;
}

// The cgroup folders that limit this process in `controller` (cpu, memory), from its own up to the root of the hierarchy. A container sees
// its own cgroup as the root, under whatever path /proc names, so that a path which is not there stands for the root.
struct CgroupFolders {
  bool v2 = false;
  std::vector<fs::path> folders;
};

CgroupFolders cgroup_folders(fs::path const& root, std::string const& controller) {
  fs::path const mounts = root / "sys/fs/cgroup";
  std::istringstream lines(content(root / "proc/self/cgroup"));
  CgroupFolders found;
  for (std::string line; std::getline(lines, line);) {  // "0::/user.slice", "4:cpu,cpuacct:/docker/1f"
    size_t const first = line.find(':'), second = line.find(':', first + 1);
    if (second == std::string::npos) continue;
    std::string const controllers = line.substr(first + 1, second - first - 1);
    bool const v2 = controllers.empty(), own = ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
    if (!own && (!v2 || !found.folders.empty())) continue;
    fs::path const mount = !v2                              ? fs::exists(mounts / controllers) ? mounts / controllers : mounts / controller
                           : fs::exists(mounts / "unified") ? mounts / "unified"
                                                            : mounts;
    found = {v2, {}};
    fs::path path = fs::path(line.substr(second + 1)).relative_path();
    for (; !path.empty(); path = path.parent_path())
      if (fs::exists(mount / path)) found.folders.push_back(mount / path);
    found.folders.push_back(mount);
  }
  return found;
}

void take_smaller(Limit& limit, std::optional<int64_t> value, std::string const& rule) {
  if (value && *value < limit.value) limit = {*value, rule};
}

// Cores of a time quota and the period that it is granted in, in microseconds.
std::optional<int64_t> cores_of(std::optional<int64_t> quota, std::optional<int64_t> period) {
  if (!quota || !period || *quota <= 0 || *period <= 0) return std::nullopt;
  return std::max<int64_t>(1, (*quota + *period - 1) / *period);
}

void add_cpu_quota(Limit& limit, fs::path const& root) {
  CgroupFolders const cgroup = cgroup_folders(root, "cpu");
  for (fs::path const& folder : cgroup.folders) {
    if (cgroup.v2) {
      std::istringstream words(content(folder / "cpu.max"));  // "150000 100000", "max 100000"
      std::string quota, period;
      words >> quota >> period;
      take_smaller(limit, cores_of(number_of(quota), number_of(period)), "cgroup quota (cpu.max)");
    } else {
      take_smaller(limit, cores_of(number_of(content(folder / "cpu.cfs_quota_us")), number_of(content(folder / "cpu.cfs_period_us"))),
                   "cgroup quota (cpu.cfs_quota_us)");
    }
  }
}

void add_memory_of_cgroups(Limit& limit, fs::path const& root) {
  CgroupFolders const cgroup = cgroup_folders(root, "memory");
  char const* const most = cgroup.v2 ? "memory.max" : "memory.limit_in_bytes";
  for (fs::path const& folder : cgroup.folders) {
    auto const allowed = number_of(content(folder / most));
    auto const used = number_of(content(folder / (cgroup.v2 ? "memory.current" : "memory.usage_in_bytes")));
    auto const cache = number_after(content(folder / "memory.stat"), cgroup.v2 ? "inactive_file" : "total_inactive_file");
    if (allowed && used) take_smaller(limit, std::max<int64_t>(0, *allowed - *used + cache.value_or(0)), std::string("cgroup ") + most);
  }
}

// What a limit of this process leaves of address space or data, in bytes.
std::optional<int64_t> left_of(decltype(RLIMIT_AS) resource, std::string const& status_line) {
  rlimit limit = {};
  if (getrlimit(resource, &limit) != 0 || limit.rlim_cur == RLIM_INFINITY) return std::nullopt;
  int64_t const used = number_after(content("/proc/self/status"), status_line).value_or(0) << 10;
  return std::max<int64_t>(0, static_cast<int64_t>(limit.rlim_cur) - used);
}

}  // namespace

LimitSources LimitSources::of_this_process() {
  LimitSources sources;
  sources.variable = [](char const* name) -> char const* { return std::getenv(name); };
  sources.machine_cores = std::max<int64_t>(1, sysconf(_SC_NPROCESSORS_ONLN));
  cpu_set_t mask;
  sources.affinity_cores = sched_getaffinity(0, sizeof mask, &mask) == 0 ? CPU_COUNT(&mask) : sources.machine_cores;
  return sources;
}

Limit shared_cores(LimitSources const& sources) {
  Limit limit{sources.machine_cores, "cores of the machine"};
  take_smaller(limit, sources.affinity_cores, "affinity mask");
  add_cpu_quota(limit, sources.root);
  return limit;
}

Limit shared_cores() { return shared_cores(LimitSources::of_this_process()); }

Limit usable_cores(LimitSources const& sources, int64_t sharing) {
  Limit limit = shared_cores(sources);
  limit.value = std::max<int64_t>(1, limit.value / sharing);
  for (char const* const name : {"OMP_NUM_THREADS", "SLURM_CPUS_PER_TASK"}) {
    char const* const text = sources.variable(name);
    auto const wanted = text ? number_of(text) : std::nullopt;  // "4,2": of nested teams the outermost
    if (wanted && *wanted > 0) take_smaller(limit, wanted, name);
  }
  return limit;
}

Limit usable_cores(int64_t sharing) { return usable_cores(LimitSources::of_this_process(), sharing); }

Limit free_memory(LimitSources const& sources, int64_t sharing) {
  Limit limit{unlimited, "nothing that is known"};
  std::string const machine = content(sources.root / "proc/meminfo");
  if (auto const available = number_after(machine, "MemAvailable"))
    limit = {(*available + number_after(machine, "SwapFree").value_or(0)) << 10, "free memory of the machine"};
  add_memory_of_cgroups(limit, sources.root);
  if (limit.value != unlimited) limit.value /= sharing;
  return limit;
}

Limit free_memory(int64_t sharing) {
  Limit limit = free_memory(LimitSources::of_this_process(), sharing);
  take_smaller(limit, left_of(RLIMIT_AS, "VmSize"), "limit of address space (ulimit -v)");
  take_smaller(limit, left_of(RLIMIT_DATA, "VmData"), "limit of data (ulimit -d)");
  return limit;
}

}  // namespace isobath
