#include "nn/attention/attend.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/_scaled_dot_product_attention_math.h>
#include <ATen/ops/_scaled_dot_product_cudnn_attention.h>
#include <ATen/ops/_scaled_dot_product_flash_attention.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/scaled_dot_product_attention.h>
#include <ATen/ops/zeros.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <array>

#include "nn/backend/backend.h"
#include "nn/backend/cpu/attention.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

float const* floats(Tensor const& x) { return x.const_data_ptr<float>(); }

// Our CPU kernel. first_query_B1, first_key_B1: index of each sequence's first query and first key, then the number of all queries and
// keys.
struct RangeAttention : Function<RangeAttention> {
  static Tensor forward(AutogradContext* ctx, Tensor const& q_in, Tensor const& k_in, Tensor const& v_in, Tensor const& first_query_B1,
                        Tensor const& first_key_B1, Tensor const& from_R, Tensor const& to_R) {
    Tensor const q = q_in.contiguous(), k = k_in.contiguous(), v = v_in.contiguous();
    auto const shape = shape_of(q, k, {first_query_B1, first_key_B1, from_R, to_R});
    Tensor out = at::empty_like(q), log_sums = at::empty({q.size(0), shape.heads}, q.options());
    auto *to = out.mutable_data_ptr<float>(), *sums = log_sums.mutable_data_ptr<float>();
    at::parallel_for(0, shape.sequences * shape.heads, 1, [&](int64_t first, int64_t last) {
      kernels::attention(shape, floats(q), floats(k), floats(v), to, sums, first, last);
    });
    ctx->save_for_backward({q, k, v, out, log_sums, first_query_B1, first_key_B1, from_R, to_R});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &log_sums = saved[4], dout = grads[0].contiguous();
    auto const shape = shape_of(q, k, {saved[5], saved[6], saved[7], saved[8]});
    Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    auto *to_q = dq.mutable_data_ptr<float>(), *to_k = dk.mutable_data_ptr<float>(), *to_v = dv.mutable_data_ptr<float>();
    at::parallel_for(0, shape.sequences * shape.kv_heads, 1, [&](int64_t first, int64_t last) {
      kernels::attention_backward(shape, floats(q), floats(k), floats(v), floats(out), floats(log_sums), floats(dout), to_q, to_k, to_v,
                                  first, last);
    });
    return {dq, dk, dv, Tensor(), Tensor(), Tensor(), Tensor()};
  }

  static kernels::AttentionShape shape_of(Tensor const& q_RHE, Tensor const& k_SGE, std::array<Tensor, 4> const& ranges) {
    auto const integers = [&](size_t i) { return ranges[i].const_data_ptr<int64_t>(); };
    return {ranges[0].numel() - 1, q_RHE.size(1), k_SGE.size(1), q_RHE.size(2), integers(0), integers(1), integers(2), integers(3)};
  }
};

// [sequences + 1]: index of the first row of each sequence, then the number of all rows. sequence_R: the sequence of each row, ascending.
Tensor first_rows(Tensor const& sequence_R, int64_t sequences) {
  Tensor const first_B1 = at::zeros({sequences + 1}, sequence_R.options());
  auto* first = first_B1.mutable_data_ptr<int64_t>();
  auto const* sequence = sequence_R.const_data_ptr<int64_t>();
  for (int64_t r = 0; r < sequence_R.numel(); ++r) ++first[sequence[r] + 1];
  for (int64_t b = 0; b < sequences; ++b) first[b + 1] += first[b];
  return first_B1;
}

bool has_kernel(Tensor const& q_RHE) {
  return &backend_for(q_RHE) == &cpu_backend() && q_RHE.size(2) % kernels::attention_head_dim_step == 0;
}

// x_R of ragged rows as B * K cells: packed to the left of each sequence, padded with zeros on its right. Dense rows are cells already.
Tensor to_cells(Tensor const& x_R, Rows const& rows) {
  if (rows.dense()) return x_R;
  auto shape = x_R.sizes().vec();
  shape[0] = rows.sequences * rows.longest;
  return at::zeros(shape, x_R.options()).index_copy(0, rows.cells_R, x_R);
}

Tensor from_cells(Tensor const& x_C, Rows const& rows) { return rows.dense() ? x_C : x_C.index_select(0, rows.cells_R); }

// [B, H, length, E] of cells; key-value heads are repeated for the query heads that share them.
Tensor by_head(Tensor const& x_CXE, int64_t B, int64_t heads) {
  int64_t const length = x_CXE.size(0) / std::max<int64_t>(1, B);
  Tensor const x_BXLE = x_CXE.reshape({B, length, x_CXE.size(1), x_CXE.size(2)}).transpose(1, 2);
  return x_CXE.size(1) == heads ? x_BXLE : x_BXLE.repeat_interleave(heads / x_CXE.size(1), 1);
}

Tensor by_cell(Tensor const& out_BHLE) { return out_BHLE.transpose(1, 2).flatten(2).flatten(0, 1); }

// Plain causal attention among all cells of a sequence, by LibTorch's operators. On CUDA the kernel is named instead of left to LibTorch's
// choice: cuda_kernel or FlashAttention for bfloat16, the plain formula for other types.
Tensor causal_attention(Tensor const& q_BHKE, Tensor const& k_BHKE, Tensor const& v_BHKE, CudaAttention cuda_kernel) {
  if (q_BHKE.is_cpu()) return at::scaled_dot_product_attention(q_BHKE, k_BHKE, v_BHKE, {}, 0.0, /*is_causal=*/true);
  if (!q_BHKE.is_cuda() || q_BHKE.scalar_type() != at::kBFloat16)
    return std::get<0>(at::_scaled_dot_product_attention_math(q_BHKE, k_BHKE, v_BHKE, {}, 0.0, /*is_causal=*/true));
  // cuDNN makes a plan for every shape, so evaluation, where ragged rows have new shapes all the time, does without it.
  if (cuda_kernel == CudaAttention::cudnn && at::GradMode::is_enabled())
    return std::get<0>(
        at::_scaled_dot_product_cudnn_attention(q_BHKE, k_BHKE, v_BHKE, {}, /*compute_log_sumexp=*/true, 0.0, /*is_causal=*/true));
  return std::get<0>(at::_scaled_dot_product_flash_attention(q_BHKE, k_BHKE, v_BHKE, 0.0, /*is_causal=*/true));
}

// bool [B, 1, K, T]: whether a query's cell attends to a key's cell. A query's padding cell attends to the first key, because softmax over
// no key gives NaN.
Tensor visible_keys(KeyRanges const& ranges, Rows const& queries, Rows const& keys) {
  int64_t const B = queries.sequences, K = queries.longest;
  Tensor const from_BK1 = to_cells(ranges.from_R, queries).view({B, K, 1}),
               to_BK1 = to_cells(ranges.to_R, queries).clamp_min(1).view({B, K, 1}),
               key_T = at::arange(keys.longest, ranges.to_R.options());
  return key_T.ge(from_BK1).logical_and(key_T.lt(to_BK1)).unsqueeze(1);
}

}  // namespace

Tensor attend_by_operators(Tensor const& q_RHE, Tensor const& k_SGE, Tensor const& v_SGE, Rows const& queries, Rows const& keys,
                           KeyRanges const& ranges, CudaAttention cuda_kernel) {
  int64_t const B = queries.sequences, heads = q_RHE.size(1);
  Tensor const q_BHKE = by_head(to_cells(q_RHE, queries), B, heads), k_BHTE = by_head(to_cells(k_SGE, keys), B, heads),
               v_BHTE = by_head(to_cells(v_SGE, keys), B, heads);
  // Ragged rows are packed to the left: causality alone keeps them from seeing the padding on their right.
  bool const causal = &queries == &keys && !keys.segments_R.defined();
  Tensor const out_BHKE = causal ? causal_attention(q_BHKE, k_BHTE, v_BHTE, cuda_kernel)
                                 : at::scaled_dot_product_attention(q_BHKE, k_BHTE, v_BHTE, visible_keys(ranges, queries, keys));
  return from_cells(by_cell(out_BHKE), queries);
}

Tensor attend(Tensor const& q_RHE, Tensor const& k_RGE, Tensor const& v_RGE, Rows const& rows, CudaAttention cuda_kernel) {
  RECORD_FUNCTION("ops::attend", c10::ArrayRef<c10::IValue const>());
  if (!has_kernel(q_RHE))
    return attend_by_operators(q_RHE, k_RGE, v_RGE, rows, rows, rows.segments_R.defined() ? ranges_among(rows) : KeyRanges(), cuda_kernel);
  KeyRanges const ranges = ranges_among(rows);
  Tensor const first_B1 = first_rows(ranges.sequence_R, rows.sequences);
  return RangeAttention::apply(q_RHE, k_RGE, v_RGE, first_B1, first_B1, ranges.from_R, ranges.to_R).flatten(1);
}

Tensor attend_among_all(Tensor const& q_RHE, Tensor const& k_NGE, Tensor const& v_NGE, Rows const& rows, Tensor const& index_R,
                        Rows const& selected) {
  RECORD_FUNCTION("ops::attend_among_all", c10::ArrayRef<c10::IValue const>());
  KeyRanges const ranges = ranges_among_all(rows, index_R);
  if (!has_kernel(q_RHE)) return attend_by_operators(q_RHE, k_NGE, v_NGE, selected, rows, ranges);
  Tensor const first_query_B1 = first_rows(ranges.sequence_R, rows.sequences),
               first_key_B1 = at::arange(rows.sequences + 1, index_R.options()) * rows.longest;
  return RangeAttention::apply(q_RHE, k_NGE, v_NGE, first_query_B1, first_key_B1, ranges.from_R, ranges.to_R).flatten(1);
}

}  // namespace isobath::ops
