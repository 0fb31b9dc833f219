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

#include "nn/backend/backend.h"
#include "nn/backend/cpu/attention.h"
#include "nn/ops/ops.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

float const* floats(Tensor const& x) { return x.const_data_ptr<float>(); }

// Who sees whom: int64 tensors, as kernels::AttentionShape has them.
struct Sight {
  Tensor queries, keys, seen;
};

// Attention on the CPU kernel.
struct SightAttention : Function<SightAttention> {
  static Tensor forward(AutogradContext* ctx, Tensor const& q_in, Tensor const& k_in, Tensor const& v_in, Tensor const& queries,
                        Tensor const& keys, Tensor const& seen) {
    Tensor const q = q_in.contiguous(), k = k_in.contiguous(), v = v_in.contiguous();
    auto const shape = shape_of(q, k, {queries, keys, seen});
    Tensor out = at::empty_like(q), log_sums = at::empty({q.size(0), shape.heads}, q.options());
    auto *to = out.mutable_data_ptr<float>(), *sums = log_sums.mutable_data_ptr<float>();
    at::parallel_for(0, shape.sequences * shape.heads, 1, [&](int64_t first, int64_t last) {
      kernels::attention(shape, floats(q), floats(k), floats(v), to, sums, first, last);
    });
    ctx->save_for_backward({q, k, v, out, log_sums, queries, keys, seen});
    return out;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const &q = saved[0], &k = saved[1], &v = saved[2], &out = saved[3], &log_sums = saved[4], dout = grads[0].contiguous();
    auto const shape = shape_of(q, k, {saved[5], saved[6], saved[7]});
    Tensor dq = at::empty_like(q), dk = at::empty_like(k), dv = at::empty_like(v);
    auto *to_q = dq.mutable_data_ptr<float>(), *to_k = dk.mutable_data_ptr<float>(), *to_v = dv.mutable_data_ptr<float>();
    at::parallel_for(0, shape.sequences * shape.kv_heads, 1, [&](int64_t first, int64_t last) {
      kernels::attention_backward(shape, floats(q), floats(k), floats(v), floats(out), floats(log_sums), floats(dout), to_q, to_k, to_v,
                                  first, last);
    });
    return {dq, dk, dv, Tensor(), Tensor(), Tensor()};
  }

  static kernels::AttentionShape shape_of(Tensor const& q_RHE, Tensor const& k_RGE, Sight const& sight) {
    return {sight.queries.numel() - 1,
            q_RHE.size(1),
            k_RGE.size(1),
            q_RHE.size(2),
            sight.queries.const_data_ptr<int64_t>(),
            sight.keys.const_data_ptr<int64_t>(),
            sight.seen.const_data_ptr<int64_t>()};
  }
};

// The first row of each of `sequences`, and the number of all, where row r is at place index_R[r] % length of sequence index_R[r] / length.
Tensor first_rows(Tensor const& index_R, int64_t length, int64_t sequences) {
  Tensor const firsts = at::zeros({sequences + 1}, index_R.options());
  auto* first = firsts.mutable_data_ptr<int64_t>();
  auto const* index = index_R.const_data_ptr<int64_t>();
  for (int64_t r = 0; r < index_R.numel(); ++r) ++first[index[r] / length + 1];
  for (int64_t b = 0; b < sequences; ++b) first[b + 1] += first[b];
  return firsts;
}

// The rows that `rows` has, as cells b * K + j.
Tensor cells_of(Rows const& rows) { return rows.dense() ? at::arange(rows.count, rows.positions_R.options()) : rows.cells_R; }

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

// The same, and with documents kept apart where segments_BK is defined, by LibTorch's operators. On CUDA the kernel is named, so that none
// is chosen behind our back: for bfloat16 the one asked for, for other types the plain formula; device.cpp takes cuDNN out of the
// choice that the operator with a mask makes.
Tensor composed_attention(Tensor const& q_RHE, Tensor const& k_RGE, Tensor const& v_RGE, int64_t B, int64_t K, Tensor const& segments_BK,
                          CudaAttention cuda_kernel) {
  int64_t const heads = q_RHE.size(1), kv_heads = k_RGE.size(1), head_dim = q_RHE.size(2);
  auto const by_head = [&](Tensor const& x_RXE) { return x_RXE.view({B, K, x_RXE.size(1), head_dim}).transpose(1, 2); };
  auto const repeat = [&](Tensor const& x_BGKE) { return kv_heads == heads ? x_BGKE : x_BGKE.repeat_interleave(heads / kv_heads, 1); };
  Tensor const q_BHKE = by_head(q_RHE), k_BHKE = repeat(by_head(k_RGE)), v_BHKE = repeat(by_head(v_RGE));
  Tensor out_BHKE;
  if (segments_BK.defined()) {
    Tensor const visible_B1KK = segments_BK.unsqueeze(2).eq(segments_BK.unsqueeze(1)).tril().unsqueeze(1);
    out_BHKE = at::scaled_dot_product_attention(q_BHKE, k_BHKE, v_BHKE, visible_B1KK);
  } else if (q_RHE.is_cpu()) {
    out_BHKE = at::scaled_dot_product_attention(q_BHKE, k_BHKE, v_BHKE, {}, 0.0, /*is_causal=*/true);
  } else if (q_RHE.is_cuda() && q_RHE.scalar_type() == at::kBFloat16) {
    // cuDNN makes a plan for every shape: not for the ever new ones of ragged evaluation.
    bool const cudnn = cuda_kernel == CudaAttention::cudnn && at::GradMode::is_enabled();
    out_BHKE = cudnn ? std::get<0>(at::_scaled_dot_product_cudnn_attention(q_BHKE, k_BHKE, v_BHKE, {}, /*compute_log_sumexp=*/true, 0.0,
                                                                           /*is_causal=*/true))
                     : std::get<0>(at::_scaled_dot_product_flash_attention(q_BHKE, k_BHKE, v_BHKE, 0.0, /*is_causal=*/true));
  } else {
    out_BHKE = std::get<0>(at::_scaled_dot_product_attention_math(q_BHKE, k_BHKE, v_BHKE, {}, 0.0, /*is_causal=*/true));
  }
  return out_BHKE.transpose(1, 2).reshape({B * K, heads, head_dim});
}

}  // namespace

Tensor attend_among_all(Tensor const& q_RHE, Tensor const& k_NGE, Tensor const& v_NGE, Rows const& rows, Tensor const& index_R,
                        Rows const& selected) {
  RECORD_FUNCTION("ops::attend_among_all", c10::ArrayRef<c10::IValue const>());
  int64_t const B = rows.sequences, T = rows.longest, K = selected.longest, heads = q_RHE.size(1), head_dim = q_RHE.size(2);
  if (has_kernel(q_RHE) && !rows.segments_R.defined())
    return SightAttention::apply(q_RHE, k_NGE, v_NGE, first_rows(index_R, T, B), at::arange(B + 1, index_R.options()) * T,
                                 index_R.remainder(T) + 1)
        .flatten(1);
  auto const by_head = [&](Tensor const& x_XHE, int64_t length) {
    return x_XHE.reshape({B, length, x_XHE.size(1), head_dim}).transpose(1, 2).repeat_interleave(heads / x_XHE.size(1), 1);
  };
  // Padding asks from place 0, of which the first key is visible: a row without any would be no number.
  Tensor const place_BK1 = to_cells(index_R.remainder(T), selected).view({B, K, 1});
  Tensor visible_B1KT = at::arange(T, index_R.options()).le(place_BK1).unsqueeze(1);
  if (rows.segments_R.defined()) {
    Tensor const same = to_cells(selected.segments_R, selected).view({B, K, 1}).eq(rows.segments_R.view({B, 1, T}));
    visible_B1KT = visible_B1KT.logical_and(same.unsqueeze(1));
  }
  Tensor const out_BHKE =
      at::scaled_dot_product_attention(by_head(to_cells(q_RHE, selected), K), by_head(k_NGE, T), by_head(v_NGE, T), visible_B1KT);
  Tensor const out_RX = out_BHKE.transpose(1, 2).reshape({B * K, heads * head_dim});
  return from_cells(out_RX, selected);
}

Tensor attend(Tensor const& q_RHE, Tensor const& k_RGE, Tensor const& v_RGE, Rows const& rows, CudaAttention cuda_kernel) {
  RECORD_FUNCTION("ops::attend", c10::ArrayRef<c10::IValue const>());
  int64_t const B = rows.sequences, K = rows.longest;
  if (has_kernel(q_RHE) && !rows.segments_R.defined()) {
    Tensor const cell_R = cells_of(rows), firsts = first_rows(cell_R, K, B);
    return SightAttention::apply(q_RHE, k_RGE, v_RGE, firsts, firsts, cell_R.remainder(K) + 1).flatten(1);
  }
  // Ragged rows are packed left and padded right: causality alone keeps real rows from seeing the padding behind them.
  Tensor const q = to_cells(q_RHE, rows), k = to_cells(k_RGE, rows), v = to_cells(v_RGE, rows);
  Tensor const segments_BK = rows.segments_R.defined() ? to_cells(rows.segments_R, rows).view({B, K}) : Tensor();
  Tensor const out_RX = composed_attention(q, k, v, B, K, segments_BK, cuda_kernel).flatten(1);
  return from_cells(out_RX, rows);
}

}  // namespace isobath::ops
