#include "nn/device.h"

#include <ATen/Context.h>
#include <c10/core/CachingDeviceAllocator.h>
#include <c10/core/impl/VirtualGuardImpl.h>
#include <dlfcn.h>
#include <link.h>

#include <filesystem>
#include <utility>

#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "core/error.h"
#include "core/log.h"
#include "core/process.h"
#include "nn/backend/backend.h"
#include "nn/backend/plugin.h"

namespace isobath {

namespace {

namespace fs = std::filesystem;

std::string last_dl_error() {
  char const* const text = dlerror();
  return text ? text : "unknown reason";
}

// What this machine lacks for CUDA, and the driver's count of GPUs.
struct CudaSearch {
  std::vector<std::string> missing;
  int gpus = 0;
};

// The folder of LibTorch's core library, beside which its CUDA backend lies.
fs::path torch_library_folder() {
  link_map* found = nullptr;
  void* const core = dlopen("libtorch_cpu.so", RTLD_NOW | RTLD_NOLOAD);
  if (core == nullptr || dlinfo(core, RTLD_DI_LINKMAP, &found) != 0 || found == nullptr) return {};
  return fs::path(found->l_name).parent_path();
}

void look_for_driver(CudaSearch& search) {
  void* const driver = dlopen("libcuda.so.1", RTLD_NOW);
  if (driver == nullptr) {
    search.missing.push_back("an NVIDIA driver (" + last_dl_error() + ")");
    return;
  }
  auto const init = reinterpret_cast<int (*)(unsigned)>(dlsym(driver, "cuInit"));
  auto const count = reinterpret_cast<int (*)(int*)>(dlsym(driver, "cuDeviceGetCount"));
  int const status = init ? init(0) : -1;
  if (status == 0 && count) count(&search.gpus);
  if (search.gpus == 0) search.missing.push_back("a GPU (the driver's cuInit gave " + std::to_string(status) + " and it counts none)");
}

fs::path plugin_path() {
  fs::path const folder = own_program().parent_path();
  fs::path const beside = folder / cuda_plugin_file;
  return fs::exists(beside) ? beside : folder / "../lib" / cuda_plugin_file;
}

CudaSearch look_for_cuda() {
  CudaSearch search;
  look_for_driver(search);
  if (fs::path const backend = torch_library_folder() / "libtorch_cuda.so"; !fs::exists(backend))
    search.missing.push_back("LibTorch's CUDA backend (no " + backend.string() + ": this LibTorch was built for the CPU alone)");
  if (fs::path const plugin = plugin_path(); !fs::exists(plugin)) {
    search.missing.push_back("Isobath's CUDA plug-in (no " + std::string(cuda_plugin_file) +
                             " beside the program: it is built where CMake finds a CUDA compiler, see docs/gpu.md)");
  }
  return search;
}

// Loads LibTorch's CUDA backend and the plug-in for the life of the process. Returns why that failed; empty when it did not.
std::string load_cuda() {
  fs::path const backend = torch_library_folder() / "libtorch_cuda.so";
  if (dlopen(backend.c_str(), RTLD_NOW | RTLD_GLOBAL) == nullptr) return "LibTorch's CUDA backend does not load: " + last_dl_error();
  void* const library = dlopen(plugin_path().c_str(), RTLD_NOW | RTLD_LOCAL);
  if (library == nullptr) return "Isobath's CUDA plug-in does not load: " + last_dl_error();
  auto const entry = reinterpret_cast<CudaPlugin const* (*)()>(dlsym(library, cuda_plugin_symbol));
  if (entry == nullptr || entry()->version != cuda_plugin_version)
    return "Isobath's CUDA plug-in " + plugin_path().string() + " belongs to another build of Isobath";
  set_cuda_plugin(entry());
  at::globalContext().setAllowTF32CuBLAS(false);  // whatever the environment says
  at::globalContext().setSDPUseCuDNN(false);      // attention/attend.cpp names its kernel
  return "";
}

std::string joined(std::vector<std::string> const& parts) {
  std::string text;
  for (std::string const& part : parts) text += (text.empty() ? "" : "; ") + part;
  return text;
}

}  // namespace

at::Device open_device(std::string const& name) {
  if (name == "cpu") return at::kCPU;
  int const index = name.starts_with("cuda:") ? std::stoi(name.substr(5)) : 0;

  static CudaSearch const search = look_for_cuda();
  std::string problem = search.missing.empty() ? "" : "missing is " + joined(search.missing);
  if (problem.empty() && index >= search.gpus) problem = "this machine's GPUs are cuda:0 to cuda:" + std::to_string(search.gpus - 1);
  if (problem.empty()) {
    static std::string const refusal = load_cuda();
    problem = refusal;
  }
  if (problem.empty()) return at::Device(at::kCUDA, static_cast<at::DeviceIndex>(index));
  if (name != "auto")
    throw Error(ExitCode::config, "device " + name + " cannot be used: " + problem + "; device=cpu computes here without one");
  static bool warned = false;
  if (search.gpus > 0 && !std::exchange(warned, true)) log_warning("device auto takes the CPU although there is a GPU: " + problem);
  return at::kCPU;
}

int visible_gpus() {
  if (open_device("auto").is_cpu()) return 0;
  return c10::impl::VirtualGuardImpl(at::kCUDA).deviceCount();
}

std::string device_name(at::Device device) {
  if (!device.is_cuda()) return device.str();
  return device.str() + " " + cuda_plugin()->device(device.index()).name;
}

double vendor_bfloat16_flops(std::string const& gpu_name) {
  // From NVIDIA's data sheets, without sparsity. The first entry that is part of gpu_name counts.
  static constexpr std::pair<char const*, double> known[] = {
      {"H100 PCIe", 756e12}, {"H100 NVL", 835e12}, {"H100", 989.4e12}, {"H200 NVL", 835e12}, {"H200", 989.4e12},
      {"GB200", 2500e12},    {"B200", 2250e12},    {"A100", 312e12},   {"L40S", 362e12},     {"RTX 4090", 165.2e12},
  };
  for (auto const& [part, flops] : known)
    if (gpu_name.find(part) != std::string::npos) return flops;
  return 0;
}

void synchronize(at::Device device) {
  if (!device.is_cpu()) c10::impl::VirtualGuardImpl(device.type()).synchronizeDevice(device.index());
}

int64_t peak_tensor_bytes(at::Device device) {
  if (!device.is_cuda()) return 0;
  auto const stats = c10::getDeviceAllocator(device.type())->getDeviceStats(device.index());
  return stats.allocated_bytes[static_cast<size_t>(c10::CachingAllocator::StatType::AGGREGATE)].peak;
}

void reset_peak_tensor_bytes(at::Device device) {
  if (device.is_cuda()) c10::getDeviceAllocator(device.type())->resetPeakStats(device.index());
}

bool cpu_has_fast_bfloat16() {
#if defined(__x86_64__)
  unsigned a = 0, b = 0, c = 0, d = 0;
  return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d >> 22 & 1) != 0;  // AMX-BF16
#else
  return false;
#endif
}

}  // namespace isobath
