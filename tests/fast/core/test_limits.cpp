// Cores and memory that a process may use, read from a copy of the files that say so.

#include <catch2/catch_test_macros.hpp>
#include <map>

#include "core/limits.h"
#include "tests/fast/scratch.h"

using namespace isobath;

namespace {

struct FakeMachine {
  Scratch scratch;
  std::map<std::string, std::string> variables;
  LimitSources sources;

  FakeMachine() {
    sources.root = scratch.path();
    sources.machine_cores = sources.affinity_cores = 16;
    sources.variable = [this](char const* name) { return variables.contains(name) ? variables[name].c_str() : nullptr; };
  }
  Limit cores(int64_t sharing = 1) const { return usable_cores(sources, sharing); }
  Limit memory(int64_t sharing = 1) const { return free_memory(sources, sharing); }
};

}  // namespace

TEST_CASE("cores: the smallest rule decides and is named") {
  FakeMachine machine;
  CHECK(machine.cores().value == 16);
  CHECK(machine.cores().rule == "cores of the machine");
  machine.sources.affinity_cores = 8;
  CHECK(machine.cores().value == 8);
  CHECK(machine.cores().rule == "affinity mask");
  machine.scratch.write("proc/self/cgroup", "0::/job/step\n");
  machine.scratch.write("sys/fs/cgroup/job/cpu.max", "550000 100000\n");  // of the parent
  machine.scratch.write("sys/fs/cgroup/job/step/cpu.max", "max 100000\n");
  CHECK(machine.cores().value == 6);  // 5.5, rounded up
  CHECK(machine.cores().rule == "cgroup quota (cpu.max)");
  machine.variables["SLURM_CPUS_PER_TASK"] = "4";
  CHECK(machine.cores().value == 4);
  CHECK(machine.cores().rule == "SLURM_CPUS_PER_TASK");
  machine.variables["OMP_NUM_THREADS"] = "3,1";
  CHECK(machine.cores().value == 3);
  machine.variables["OMP_NUM_THREADS"] = "64";  // more than there are
  CHECK(machine.cores().value == 4);
  CHECK(shared_cores(machine.sources).value == 6);  // of all that this process starts
}

TEST_CASE("cores: the machine's are divided among processes, what is said of one process is not") {
  FakeMachine machine;
  CHECK(machine.cores(4).value == 4);
  CHECK(machine.cores(100).value == 1);
  machine.variables["OMP_NUM_THREADS"] = "3";
  CHECK(machine.cores(4).value == 3);
  CHECK(machine.cores(8).value == 2);
  machine.variables["OMP_NUM_THREADS"] = "many";
  CHECK(machine.cores(4).value == 4);
}

TEST_CASE("cores: a quota of cgroup v1, also as a container sees it") {
  FakeMachine machine;
  machine.scratch.write("proc/self/cgroup", "5:memory:/docker/1f\n4:cpu,cpuacct:/docker/1f\n0::/\n");
  machine.scratch.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "200000\n");  // the container's own is the root that it sees
  machine.scratch.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us", "100000\n");
  CHECK(machine.cores().value == 2);
  CHECK(machine.cores().rule == "cgroup quota (cpu.cfs_quota_us)");
  machine.scratch.write("sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us", "-1\n");
  CHECK(machine.cores().value == 16);
}

TEST_CASE("memory: of the machine and of cgroups, whose caches count as free") {
  FakeMachine machine;
  machine.scratch.write("proc/meminfo", "MemTotal: 4000 kB\nMemFree: 10 kB\nMemAvailable:   3000 kB\nSwapFree: 1000 kB\n");
  CHECK(machine.memory().value == 4000 * 1024);
  CHECK(machine.memory().rule == "free memory of the machine");
  CHECK(machine.memory(4).value == 1000 * 1024);
  machine.scratch.write("proc/self/cgroup", "0::/job\n");
  machine.scratch.write("sys/fs/cgroup/job/memory.max", "2000000\n");
  machine.scratch.write("sys/fs/cgroup/job/memory.current", "1500000\n");
  machine.scratch.write("sys/fs/cgroup/job/memory.stat", "anon 1\ninactive_file 300000\n");
  CHECK(machine.memory().value == 800000);
  CHECK(machine.memory().rule == "cgroup memory.max");
  machine.scratch.write("sys/fs/cgroup/job/memory.max", "max\n");
  CHECK(machine.memory().value == 4000 * 1024);

  machine.scratch.write("proc/self/cgroup", "5:memory:/docker/1f\n");
  machine.scratch.write("sys/fs/cgroup/memory/memory.limit_in_bytes", "1000000\n");
  machine.scratch.write("sys/fs/cgroup/memory/memory.usage_in_bytes", "1200000\n");
  CHECK(machine.memory().value == 0);
  CHECK(machine.memory().rule == "cgroup memory.limit_in_bytes");
}
