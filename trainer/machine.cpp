#include "trainer/machine.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <torch/version.h>

#include <algorithm>
#include <chrono>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>
#include <thread>

#include "nn/gemm.h"

namespace isobath {

namespace {

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string utc_now() {
  std::time_t const now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

}  // namespace

void set_threads(int64_t threads) {
  int64_t const cores = std::max<int64_t>(1, std::thread::hardware_concurrency());
  at::set_num_threads(static_cast<int>(threads > 0 ? threads : cores));
}

void keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

Machine this_machine(std::string const& version) {
  return {version, TORCH_VERSION, at::get_cpu_capability(), gemm_library(), at::get_num_threads()};
}

nlohmann::ordered_json environment_json(Machine const& machine) {
  utsname system = {};
  ::uname(&system);
  struct sysinfo memory = {};
  ::sysinfo(&memory);
  return {
      {"isobath", machine.version}, {"libtorch", machine.libtorch},
      {"compiler", __VERSION__},    {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
      {"cpu", cpu_name()},          {"cpu_capability", machine.cpu_capability},
      {"gemm", machine.gemm},       {"cores", std::thread::hardware_concurrency()},
      {"threads", machine.threads}, {"memory_bytes", static_cast<uint64_t>(memory.totalram) * memory.mem_unit},
      {"started", utc_now()},
  };
}

int64_t peak_memory_bytes() {
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * int64_t{1024};
}

double measure_peak_flops() {
  at::NoGradGuard const no_grad;
  constexpr int64_t n = 768;
  at::Tensor const a = at::ones({n, n}), b = at::ones({n, n});
  gemm(a, b);  // starts the threads
  double best = 1e9;
  for (int repeat = 0; repeat < 4; ++repeat) {
    auto const start = std::chrono::steady_clock::now();
    gemm(a, b);
    best = std::min(best, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return 2.0 * n * n * n / best;
}

}  // namespace isobath
