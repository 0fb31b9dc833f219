#pragma once
// Attention of rows, with gradients; who sees whom is a KeyRanges.
//
// Shapes: R queries, S keys, N all rows, B sequences, H heads, G key-value heads, E head dim.

#include <ATen/core/Tensor.h>

#include "config/config.h"
#include "nn/attention/key_ranges.h"

namespace isobath::ops {

// Attention among the rows: each sees the rows of its sequence up to itself, of its own document where rows.segments_R is defined. Returns
// [R, H * E]. cuda_kernel: what trains bfloat16 on CUDA (key `cuda_attention`); evaluation takes FlashAttention.
at::Tensor attend(at::Tensor const& q_RHE, at::Tensor const& k_RGE, at::Tensor const& v_RGE, Rows const& rows,
                  CudaAttention cuda_kernel = CudaAttention::flash);

// The same of the selected rows index_R among all rows of their sequences, selected or not; `rows` must be dense. Returns [R, H * E].
at::Tensor attend_among_all(at::Tensor const& q_RHE, at::Tensor const& k_NGE, at::Tensor const& v_NGE, Rows const& rows,
                            at::Tensor const& index_R, Rows const& selected);

// The same by LibTorch's operators, with a mask where the ranges need one: what types and devices without a kernel of ours take, and what
// the kernel is tested and timed against. Ranges are not looked at where `queries` and `keys` are the same rows of one document each.
at::Tensor attend_by_operators(at::Tensor const& q_RHE, at::Tensor const& k_SGE, at::Tensor const& v_SGE, Rows const& queries,
                               Rows const& keys, KeyRanges const& ranges, CudaAttention cuda_kernel = CudaAttention::flash);

}  // namespace isobath::ops
