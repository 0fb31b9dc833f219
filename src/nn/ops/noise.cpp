#include "nn/ops/ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/where.h>

#include <numbers>

#include "core/random.h"

namespace isobath::ops {

using at::Tensor;

Tensor random_normal(uint64_t key, int64_t count, at::TensorOptions const& options) {
  return random_normal(key, at::arange(count, options.dtype(at::kLong)), options);
}

Tensor random_normal(uint64_t key, Tensor const& counter_N, at::TensorOptions const& options) {
  if (options.device().is_cpu()) {
    Tensor const counters = counter_N.contiguous(), noise_N = at::empty(counter_N.sizes(), at::kDouble);
    int64_t const* const counter = counters.const_data_ptr<int64_t>();
    double* const out = noise_N.mutable_data_ptr<double>();
    at::parallel_for(0, counters.numel(), 4096, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) out[i] = isobath::random_normal(key, static_cast<uint64_t>(counter[i]));
    });
    return noise_N.to(options);
  }
  // core/random's arithmetic in int64, which wraps as uint64 does; only right shifts differ.
  auto const shifted = [](Tensor const& x, int64_t bits) {
    return x.bitwise_right_shift(bits).bitwise_and((int64_t{1} << (64 - bits)) - 1);
  };
  auto const mixed = [&](Tensor x) {
    x = x.bitwise_xor(shifted(x, 30)).mul(static_cast<int64_t>(0xbf58476d1ce4e5b9ULL));
    x = x.bitwise_xor(shifted(x, 27)).mul(static_cast<int64_t>(0x94d049bb133111ebULL));
    return x.bitwise_xor(shifted(x, 31));
  };
  auto const uniform = [&](Tensor const& counter) {
    Tensor const bits = mixed(mixed(counter + static_cast<int64_t>(0x9e3779b97f4a7c15ULL)).bitwise_xor(static_cast<int64_t>(key)));
    return shifted(bits, 12).to(at::kDouble).add(0.5).mul(0x1.0p-52);
  };
  Tensor const odd_N = counter_N.bitwise_and(1), pair_N = counter_N - odd_N;
  Tensor const radius_N = uniform(pair_N).log().mul(-2).sqrt(), angle_N = uniform(pair_N + 1).mul(2 * std::numbers::pi);
  return radius_N.mul(at::where(odd_N.eq(1), angle_N.sin(), angle_N.cos())).to(options);
}

}  // namespace isobath::ops
