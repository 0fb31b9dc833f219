#include "trainer/run/machine.h"

#include <ATen/Parallel.h>
#include <ATen/Version.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/ones.h>
#include <malloc.h>
#include <sys/resource.h>
#include <sys/sysinfo.h>
#include <sys/utsname.h>
#include <torch/version.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <fstream>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/units.h"
#include "nn/device.h"
#include "nn/ops/gemm.h"
#include "nn/ops/ops.h"
#include "trainer/run/build_id.h"

namespace isobath {

namespace {

std::string cpu_name() {
  std::ifstream info("/proc/cpuinfo");
  for (std::string line; std::getline(info, line);) {
    if (line.starts_with("model name")) return line.substr(line.find(':') + 2);
  }
  return "unknown";
}

std::string threads_rule = "LibTorch";  // what the number of threads comes from

std::string utc_now() {
  std::time_t const now = std::time(nullptr);
  char text[32];
  std::strftime(text, sizeof text, "%Y-%m-%dT%H:%M:%SZ", std::gmtime(&now));
  return text;
}

}  // namespace

int64_t threads_of(int64_t threads, int64_t sharing_cores) { return threads > 0 ? threads : usable_cores(sharing_cores).value; }

void set_threads(int64_t threads, int64_t sharing_cores) {
  Limit const limit = threads > 0 ? Limit{threads, "train.threads"} : usable_cores(sharing_cores);
  at::set_num_threads(static_cast<int>(limit.value));
  threads_rule = limit.rule;
}

void use_huge_pages() { setenv("THP_MEM_ALLOC_ENABLE", "1", /*overwrite=*/0); }

void keep_freed_memory() {
#if defined(__GLIBC__)
  mallopt(M_MMAP_MAX, 0);
  mallopt(M_TRIM_THRESHOLD, -1);
  mallopt(M_TOP_PAD, 64 << 20);
#endif
}

at::Device place_model(LanguageModel& model, Config const& config) {
  at::Device const device = open_device(config.device);
  int64_t const head_dim = config.model.width / config.model.heads;
  if (device.is_cuda() && config.precision == Precision::bf16 && (head_dim % 8 != 0 || head_dim > 256)) {
    throw Error(ExitCode::config,
                "precision bf16 on " + device.str() + ": its attention kernels take head sizes that are multiples of 8 up to " +
                    "256; model.width / model.heads is " + std::to_string(head_dim) + " (precision=fp32 and device=cpu take any)");
  }
  model.use_cuda_attention(config.cuda_attention);
  model.to(device);
  if (config.precision == Precision::bf16) {
    model.compute_in_bfloat16();
    if (device.is_cpu() && !cpu_has_fast_bfloat16())
      log_warning("precision bf16: this CPU has no AMX; bfloat16 gains nothing over fp32 on it and can be much slower");
  }
  return device;
}

Machine this_machine(std::string const& version, at::Device device) {
  return {version, TORCH_VERSION, at::get_cpu_capability(), gemm_library(), at::get_num_threads(), /*ranks=*/1, device_name(device)};
}

std::string build_id() { return build_revision() + ", " + build_compiler() + ", LibTorch " + TORCH_VERSION; }

nlohmann::ordered_json environment_json(Machine const& machine) {
  utsname system = {};
  ::uname(&system);
  struct sysinfo memory = {};
  ::sysinfo(&memory);
  return {
      {"isobath", machine.version},
      {"libtorch", machine.libtorch},
      {"device", machine.device},
      {"compiler", build_compiler()},
      {"revision", build_revision()},
      {"build", build_id()},
      {"system", std::string(system.sysname) + " " + system.release + " " + system.machine},
      {"cpu", cpu_name()},
      {"cpu_capability", machine.cpu_capability},
      {"gemm", machine.gemm},
      {"cores", ::sysconf(_SC_NPROCESSORS_ONLN)},
      {"threads", machine.threads},
      {"threads_rule", threads_rule},
      {"ranks", machine.ranks},
      {"memory_bytes", static_cast<uint64_t>(memory.totalram) * memory.mem_unit},
      {"started", utc_now()},
  };
}

int64_t peak_memory_bytes(at::Device device) {
  if (!device.is_cpu()) return peak_tensor_bytes(device);
  rusage usage = {};
  ::getrusage(RUSAGE_SELF, &usage);
  return usage.ru_maxrss * int64_t{1024};
}

int64_t resident_memory_bytes() {
  int64_t pages = 0, resident = 0;
  std::ifstream("/proc/self/statm") >> pages >> resident;
  return resident * ::sysconf(_SC_PAGESIZE);
}

namespace {

PeakFlops peak_of_one(at::Device device, Precision precision) {
  bool const narrow = precision == Precision::bf16;
  double const vendor = narrow && device.is_cuda() ? vendor_bfloat16_flops(device_name(device)) : 0;
  if (vendor > 0) return {vendor, "the maker's figure for dense bf16"};

  at::NoGradGuard const no_grad;
  int64_t const n = device.is_cpu() ? 768 : 8192;
  at::Tensor const a = at::ones({n, n}, at::TensorOptions().dtype(narrow ? at::kBFloat16 : at::kFloat).device(device));
  gemm(a, a);  // warm-up: starts the threads
  synchronize(device);
  constexpr double long_enough = 0.05;
  double best = 1e9, spent = 0;
  for (int repeat = 0; repeat < 4 || spent < long_enough; ++repeat) {
    auto const start = std::chrono::steady_clock::now();
    gemm(a, a);
    synchronize(device);
    double const seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    best = std::min(best, seconds);
    spent += seconds;
  }
  auto const edge = static_cast<double>(n);
  return {2.0 * edge * edge * edge / best, "a matrix product of " + Choice<Precision>(precision).name() + " on this machine"};
}

}  // namespace

PeakFlops peak_flops(at::Device device, Precision precision, int64_t ranks) {
  PeakFlops peak = peak_of_one(device, precision);
  if (ranks == 1) return peak;
  return {peak.per_s * static_cast<double>(ranks), peak.source + ", for each of " + std::to_string(ranks) + " ranks"};
}

PeakFlops corrected_peak(PeakFlops const& peak, double achieved_per_s, at::Device device, Precision precision, int64_t ranks) {
  if (!(achieved_per_s > peak.per_s)) return peak;
  PeakFlops again = peak_flops(device, precision, ranks);
  if (again.per_s < achieved_per_s) again = {achieved_per_s, "the fastest steps on this machine, which outran a matrix product"};
  return again;
}

void correct_peak(PeakFlops& peak, double achieved_per_s, at::Device device, Precision precision, int64_t ranks) {
  if (!(achieved_per_s > peak.per_s)) return;
  double const before = peak.per_s;
  peak = corrected_peak(peak, achieved_per_s, device, precision, ranks);
  log_info("mfu is a share of " + format_si(peak.per_s) + " FLOP/s from here on (" + peak.source + "); " + format_si(before) +
           " were measured before, on a busier machine");
}

}  // namespace isobath
