#include "config/sections/run.h"

#include <sstream>

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {
namespace {

void check_name(Config const& config, std::vector<Contradiction>& found) {
  std::string const& name = config.name;
  bool bad = name.empty() || name.front() == '/' || name.back() == '/' || name.find("//") != std::string::npos;
  std::istringstream parts(name);
  for (std::string part; std::getline(parts, part, '/');) bad = bad || part == "." || part == "..";
  for (char const c : name) bad = bad || static_cast<unsigned char>(c) < 0x20 || c == '\\' || c == 0x7f;
  if (bad) {
    found.push_back({{"name"}, "name '" + name + "' is no folder below run_dir (words joined by single '/', no '..', not absolute)"});
  }
}

void check_device(std::string const& device, std::vector<Contradiction>& found) {
  if (!is_device(device)) found.push_back({{"device"}, "device '" + device + "' is none of auto, cpu, cuda, cuda:0, cuda:1, ..."});
}

}  // namespace

bool is_device(std::string const& device) {
  std::string const index = device.starts_with("cuda:") ? device.substr(5) : "0";
  bool const is_index = index.size() == 1 || index.size() == 2;
  bool const digits = index.find_first_not_of("0123456789") == std::string::npos;
  return device == "auto" || device == "cpu" || device == "cuda" || (device.starts_with("cuda:") && is_index && digits);
}

int64_t bytes_per_value(RunConfig const& run) { return run.precision == Precision::bf16 ? 2 : 4; }

std::vector<ConfigField> run_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(name), text, free, "Names the run; its folder is run_dir/name."),
      R(KEY(run_dir), text, free, "Folder that holds the run folders.").names_paths(),
      R(KEY(seed), integer, identity, "Initial values and data order; the split and the tokenizer never depend on it.")
          .between(0, largest_count),
      R(KEY(device), text, free, "Where the model runs: cpu, cuda, cuda:1, or auto (the first GPU, else the CPU)."),
      R(KEY(precision), choice, identity,
        "Number format of activations and matrix products. fp32: 32 bits; bf16: 16 bits (bfloat16), while weights, optimizer, norms, "
        "router "
        "scores and losses stay fp32."),
      R(KEY(cuda_attention), choice, free, "Attention kernel that trains bf16 on a GPU. flash: FlashAttention; cudnn: cuDNN's."),
  };
}

void check_run(Config const& config, std::vector<Contradiction>& found) {
  check_name(config, found);
  check_device(config.device, found);
}

}  // namespace isobath
