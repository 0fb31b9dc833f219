#pragma once
// The keys of the top level: the name of a run and where it happens.

#include <cstdint>
#include <string>

#include "config/choice.h"

namespace isobath {

enum class Precision { fp32, bf16 };
template <>
struct ChoiceNames<Precision> {
  static constexpr std::array names{"fp32", "bf16"};
};
enum class CudaAttention { flash, cudnn };
template <>
struct ChoiceNames<CudaAttention> {
  static constexpr std::array names{"flash", "cudnn"};
};

struct RunConfig {
  std::string name = "run";
  std::string run_dir = "runs";
  int64_t seed = 1;
  std::string device = "cpu";  // auto | cpu | cuda | cuda:i
  Choice<Precision> precision = Precision::fp32;
  Choice<CudaAttention> cuda_attention = CudaAttention::flash;
};

bool is_device(std::string const& device);
int64_t bytes_per_value(RunConfig const&);  // of an activation, a key or a value, by `precision`

}  // namespace isobath
