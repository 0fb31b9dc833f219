#pragma once
// The group of threads that rows.h asks for, on a GPU: a warp, or a whole block of at most 1024.

#include <cstdint>

namespace isobath::cuda {

constexpr unsigned everyone = 0xffffffffu;

extern __shared__ float4 block_scratch[];

template <int threads>
class Group {
 public:
  __device__ int rank() const { return static_cast<int>(threadIdx.x) % threads; }
  __device__ constexpr int size() const { return threads; }

  __device__ void sync() const {
    if constexpr (threads == 32)
      __syncwarp();
    else
      __syncthreads();
  }

  __device__ float sum(float value) const {
    return reduce(value, [](float a, float b) { return a + b; });
  }
  __device__ float max(float value) const {
    return reduce(value, [](float a, float b) { return a > b ? a : b; });
  }

  __device__ int scan(int value, int& total) const {
    int inclusive = value;
    for (int step = 1; step < 32; step *= 2) {
      int const lower = __shfl_up_sync(everyone, inclusive, step);
      if (rank() % 32 >= step) inclusive += lower;
    }
    int before = inclusive - value;
    total = __shfl_sync(everyone, inclusive, 31);
    if constexpr (threads > 32) {
      __shared__ int warp_totals[threads / 32];
      if (rank() % 32 == 0) warp_totals[rank() / 32] = total;
      sync();
      total = 0;
      for (int warp = 0; warp < threads / 32; ++warp) {
        if (warp == rank() / 32) before += total;
        total += warp_totals[warp];
      }
      sync();  // everyone has read before the next call writes
    }
    return before;
  }

  __device__ void increment(int* count) const { atomicAdd(count, 1); }
  __device__ void* scratch() const {
    static_assert(threads > 32, "warps of a block would share it");
    return block_scratch;
  }

 private:
  template <typename F>
  __device__ float reduce(float value, F combine) const {
    for (int step = 16; step > 0; step /= 2) value = combine(value, __shfl_xor_sync(everyone, value, step));
    if constexpr (threads > 32) {
      __shared__ float warp_values[threads / 32];
      if (rank() % 32 == 0) warp_values[rank() / 32] = value;
      sync();
      value = warp_values[0];
      for (int warp = 1; warp < threads / 32; ++warp) value = combine(value, warp_values[warp]);
      sync();  // everyone has read before the next call writes
    }
    return value;
  }
};

// Calls body(group, row) for every row: a warp a row, some warps a block, or a block a row.
template <int threads>
constexpr int block_size = threads == 32 ? 256 : threads;

template <int threads, typename Body>
__global__ void __launch_bounds__(block_size<threads>) each_row(int64_t rows, Body body) {
  constexpr int groups = block_size<threads> / threads;
  Group<threads> const group;
  for (int64_t row = int64_t{blockIdx.x} * groups + threadIdx.x / threads; row < rows; row += int64_t{gridDim.x} * groups) {
    body(group, row);
    group.sync();
  }
}

}  // namespace isobath::cuda
