#pragma once
// Attention of rows, with gradients. A KeyRanges says which keys each query attends to.
//
// Shapes: R queries, S keys, N all rows, B sequences, H heads, G key-value heads, E head dim.

#include <ATen/core/Tensor.h>

#include "config/config.h"
#include "nn/attention/key_ranges.h"

namespace isobath::ops {

// Each row attends to the rows of its sequence up to itself, of its own document where rows.segments_R is defined. Returns [R, H * E].
// cuda_kernel: the kernel for training in bfloat16 on CUDA (key `cuda_attention`); evaluation uses FlashAttention.
at::Tensor attend(at::Tensor const& q_RHE, at::Tensor const& k_RGE, at::Tensor const& v_RGE, Rows const& rows,
                  CudaAttention cuda_kernel = CudaAttention::flash);

// The same with kept keys: the selected rows index_R are the queries, all rows of their sequences the keys; `rows` must be dense. Returns
// [R, H * E].
at::Tensor attend_among_all(at::Tensor const& q_RHE, at::Tensor const& k_NGE, at::Tensor const& v_NGE, Rows const& rows,
                            at::Tensor const& index_R, Rows const& selected);

// The same by LibTorch's operators, with a mask where the ranges need one. Types and devices without a kernel of ours use it, and our
// kernel is tested and timed against it. `ranges` is not read where `queries` and `keys` are one object without isolated documents.
at::Tensor attend_by_operators(at::Tensor const& q_RHE, at::Tensor const& k_SGE, at::Tensor const& v_SGE, Rows const& queries,
                               Rows const& keys, KeyRanges const& ranges, CudaAttention cuda_kernel = CudaAttention::flash);

}  // namespace isobath::ops
