#include "nn/ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/linear.h>
#include <ATen/ops/ones_like.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "nn/fused.h"
#include "nn/gemm.h"
#include "nn/kernels_cpu.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

// Rows a thread takes at a time, so that small work stays on one thread.
int64_t grain(int64_t width) { return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, width)); }

float* data(Tensor& x) { return x.mutable_data_ptr<float>(); }
float const* data(Tensor const& x) { return x.const_data_ptr<float>(); }

struct RmsNorm : Function<RmsNorm> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& weight, double eps) {
    Tensor const x = x_in.contiguous();
    int64_t const width = x.size(-1), rows = x.numel() / width;
    Tensor y = at::empty_like(x), rstd = at::empty({rows}, x.options());
    at::parallel_for(0, rows, grain(width), [&](int64_t begin, int64_t end) {
      kernels::rms_norm(data(std::as_const(x)) + begin * width, data(weight), data(y) + begin * width, data(rstd) + begin, end - begin,
                        width, static_cast<float>(eps));
    });
    ctx->save_for_backward({x, weight, rstd});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const &x = saved[0], &weight = saved[1], &rstd = saved[2];
    Tensor const dy = grads[0].contiguous();
    int64_t const width = x.size(-1), rows = x.numel() / width;
    // A fixed number of partial sums, so that the result does not depend on the number of threads.
    int64_t const parts = std::min<int64_t>(16, rows);
    Tensor dx = at::empty_like(x), dweight_parts = at::zeros({parts, width}, x.options());
    at::parallel_for(0, parts, std::max<int64_t>(1, grain(width) * parts / std::max<int64_t>(1, rows)), [&](int64_t begin, int64_t end) {
      for (int64_t part = begin; part < end; ++part) {
        int64_t const first = rows * part / parts, last = rows * (part + 1) / parts;
        kernels::rms_norm_backward(data(dy) + first * width, data(x) + first * width, data(weight), data(rstd) + first,
                                   data(dx) + first * width, data(dweight_parts) + part * width, last - first, width);
      }
    });
    return {dx, dweight_parts.sum(0), Tensor()};
  }
};

struct Linear : Function<Linear> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x, Tensor const& weight) {
    ctx->save_for_backward({x, weight});
    return gemm(x, weight.t());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const &x = saved[0], &weight = saved[1], &dy = grads[0];
    return {ctx->needs_input_grad(0) ? gemm(dy, weight) : Tensor(), ctx->needs_input_grad(1) ? gemm(dy.t(), x) : Tensor()};
  }
};

struct SwiGlu : Function<SwiGlu> {
  static Tensor forward(AutogradContext* ctx, Tensor const& gate_up_in) {
    Tensor const gate_up = gate_up_in.contiguous();
    int64_t const rows = gate_up.size(0), hidden = gate_up.size(1) / 2;
    Tensor y = at::empty({rows, hidden}, gate_up.options());
    at::parallel_for(0, rows, grain(hidden), [&](int64_t begin, int64_t end) {
      kernels::swiglu(data(gate_up) + begin * 2 * hidden, data(y) + begin * hidden, end - begin, hidden);
    });
    ctx->save_for_backward({gate_up});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Tensor const gate_up = ctx->get_saved_variables()[0], dy = grads[0].contiguous();
    int64_t const rows = gate_up.size(0), hidden = gate_up.size(1) / 2;
    Tensor dgate_up = at::empty_like(gate_up);
    at::parallel_for(0, rows, grain(hidden), [&](int64_t begin, int64_t end) {
      kernels::swiglu_backward(data(dy) + begin * hidden, data(gate_up) + begin * 2 * hidden, data(dgate_up) + begin * 2 * hidden,
                               end - begin, hidden);
    });
    return {dgate_up};
  }
};

struct Gelu : Function<Gelu> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in) {
    Tensor const x = x_in.contiguous();
    Tensor y = at::empty_like(x);
    at::parallel_for(0, x.numel(), 16384,
                     [&](int64_t begin, int64_t end) { kernels::gelu(data(x) + begin, data(y) + begin, end - begin); });
    ctx->save_for_backward({x});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Tensor const x = ctx->get_saved_variables()[0], dy = grads[0].contiguous();
    Tensor dx = at::empty_like(x);
    at::parallel_for(0, x.numel(), 16384, [&](int64_t begin, int64_t end) {
      kernels::gelu_backward(data(dy) + begin, data(x) + begin, data(dx) + begin, end - begin);
    });
    return {dx};
  }
};

struct SplitRotary : Function<SplitRotary> {
  static variable_list forward(AutogradContext* ctx, Tensor const& qkv_in, int64_t heads, int64_t kv_heads, int64_t head_dim,
                               Tensor const& positions, Tensor const& cos, Tensor const& sin) {
    Tensor const qkv = qkv_in.contiguous();
    int64_t const rows = qkv.size(0), stride = qkv.size(1), q_width = heads * head_dim, k_width = kv_heads * head_dim;
    Tensor q = at::empty({rows, heads, head_dim}, qkv.options()), k = at::empty({rows, kv_heads, head_dim}, qkv.options()),
           v = at::empty({rows, kv_heads, head_dim}, qkv.options());
    int64_t const* position = positions.const_data_ptr<int64_t>();
    at::parallel_for(0, rows, grain(stride), [&](int64_t begin, int64_t end) {
      int64_t const n = end - begin;
      float const* in = data(qkv) + begin * stride;
      kernels::rotate(in, stride, data(q) + begin * q_width, q_width, position + begin, data(cos), data(sin), n, heads, head_dim, false);
      kernels::rotate(in + q_width, stride, data(k) + begin * k_width, k_width, position + begin, data(cos), data(sin), n, kv_heads,
                      head_dim, false);
      kernels::copy_rows(in + q_width + k_width, stride, data(v) + begin * k_width, k_width, n, k_width);
    });
    ctx->save_for_backward({positions, cos, sin});
    ctx->saved_data["stride"] = stride;
    return {q, k, v};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const dq = grads[0].contiguous(), dk = grads[1].contiguous(), dv = grads[2].contiguous();
    int64_t const stride = ctx->saved_data["stride"].toInt(), rows = dq.size(0), heads = dq.size(1), head_dim = dq.size(2),
                  kv_heads = dk.size(1), q_width = heads * head_dim, k_width = kv_heads * head_dim;
    Tensor dqkv = at::empty({rows, stride}, dq.options());
    int64_t const* position = saved[0].const_data_ptr<int64_t>();
    Tensor const &cos = saved[1], &sin = saved[2];
    at::parallel_for(0, rows, grain(stride), [&](int64_t begin, int64_t end) {
      int64_t const n = end - begin;
      float* out = data(dqkv) + begin * stride;
      kernels::rotate(data(dq) + begin * q_width, q_width, out, stride, position + begin, data(cos), data(sin), n, heads, head_dim, true);
      kernels::rotate(data(dk) + begin * k_width, k_width, out + q_width, stride, position + begin, data(cos), data(sin), n, kv_heads,
                      head_dim, true);
      kernels::copy_rows(data(dv) + begin * k_width, k_width, out + q_width + k_width, stride, n, k_width);
    });
    return {dqkv, Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

struct ScatterAddRows : Function<ScatterAddRows> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x, Tensor const& index, Tensor const& delta_in,
                        std::optional<Tensor> const& weight_in) {
    Tensor const delta = delta_in.contiguous(), weight = weight_in ? weight_in->contiguous() : Tensor();
    int64_t const width = x.size(1);
    Tensor y = x.clone(at::MemoryFormat::Contiguous);
    at::parallel_for(0, index.size(0), grain(width), [&](int64_t begin, int64_t end) {
      kernels::scatter_add(data(y), index.const_data_ptr<int64_t>() + begin, data(delta) + begin * width,
                           weight.defined() ? data(weight) + begin : nullptr, end - begin, width);
    });
    ctx->save_for_backward({index, delta, weight});
    return y;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const &index = saved[0], &delta = saved[1], &weight = saved[2];
    Tensor const dy = grads[0].contiguous();
    int64_t const width = dy.size(1);
    Tensor ddelta = at::empty_like(delta), dweight = weight.defined() ? at::empty_like(weight) : Tensor();
    at::parallel_for(0, index.size(0), grain(width), [&](int64_t begin, int64_t end) {
      kernels::scatter_add_backward(data(dy), index.const_data_ptr<int64_t>() + begin, data(delta) + begin * width,
                                    weight.defined() ? data(weight) + begin : nullptr, data(ddelta) + begin * width,
                                    dweight.defined() ? data(dweight) + begin : nullptr, end - begin, width);
    });
    return {dy, Tensor(), ddelta, dweight};
  }
};

// Losses of one chunk of logits; the logits become softmax - onehot when gradients are wanted. Rows to ignore become zeros.
Tensor chunk_cross_entropy(Tensor& logits, Tensor const& targets, bool gradients) {
  int64_t const rows = logits.size(0), vocab = logits.size(1);
  if (is_fused(logits)) {
    Tensor losses = at::empty({rows}, logits.options());
    at::parallel_for(0, rows, grain(4 * vocab), [&](int64_t begin, int64_t end) {
      kernels::cross_entropy(data(logits) + begin * vocab, targets.const_data_ptr<int64_t>() + begin, data(losses) + begin, end - begin,
                             vocab, gradients);
    });
    return losses;
  }
  Tensor const keep = targets.ge(0), index = targets.clamp_min(0).unsqueeze(1);
  Tensor const log_sum = logits.logsumexp(1), keep_f = keep.to(logits.scalar_type());
  Tensor const losses = (log_sum - logits.gather(1, index).squeeze(1)) * keep_f;
  if (gradients) {
    logits.sub_(log_sum.unsqueeze(1)).exp_();
    logits.scatter_add_(1, index, -at::ones_like(index, logits.options()));
    logits.mul_(keep_f.unsqueeze(1));
  }
  return losses;
}

// Rows whose logits exist at one time: about 4 MiB of floats, which the last-level cache can hold.
int64_t chunk_rows(int64_t vocab) { return std::max<int64_t>(64, (int64_t{1} << 20) / vocab); }

struct LinearCrossEntropy : Function<LinearCrossEntropy> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& weight, Tensor const& targets) {
    Tensor const x = x_in.contiguous();
    int64_t const rows = x.size(0), step = chunk_rows(weight.size(0));
    Tensor loss = at::zeros({}, x.options()), dx = at::empty_like(x), dweight = at::zeros_like(weight);
    for (int64_t first = 0; first < rows; first += step) {
      int64_t const n = std::min(step, rows - first);
      Tensor const x_chunk = x.narrow(0, first, n);
      Tensor logits = gemm(x_chunk, weight.t());
      loss += chunk_cross_entropy(logits, targets.narrow(0, first, n), true).sum();
      gemm_into(dx.narrow(0, first, n), logits, weight);
      gemm_into(dweight, logits.t(), x_chunk, /*accumulate=*/true);
    }
    ctx->save_for_backward({dx, dweight});
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    return {saved[0] * grads[0], saved[1] * grads[0], Tensor()};
  }
};

}  // namespace

Tensor rms_norm(Tensor const& x_RD, Tensor const& weight_D, double eps) {
  if (is_fused(x_RD)) return RmsNorm::apply(x_RD, weight_D, eps);
  return x_RD * (x_RD.square().mean(-1, true) + eps).rsqrt() * weight_D;
}

Tensor linear(Tensor const& x_RI, Tensor const& weight_OI) {
  return is_fused(x_RI) ? Linear::apply(x_RI, weight_OI) : at::linear(x_RI, weight_OI);
}

Tensor swiglu(Tensor const& gate_up_RX) {
  if (is_fused(gate_up_RX)) return SwiGlu::apply(gate_up_RX);
  auto const halves = gate_up_RX.chunk(2, -1);
  return at::silu(halves[0]) * halves[1];
}

Tensor gelu(Tensor const& x_RF) { return is_fused(x_RF) ? Gelu::apply(x_RF) : at::gelu(x_RF, "tanh"); }

std::tuple<Tensor, Tensor> rotary_tables(int64_t length, int64_t head_dim, double theta, at::TensorOptions const& options) {
  // In double: an angle of some thousand radians keeps only three decimals in fp32.
  at::TensorOptions const wide = options.dtype(at::kDouble);
  Tensor const frequency_E = at::arange(0, head_dim, 2, wide).mul(-std::log(theta) / static_cast<double>(head_dim)).exp();
  Tensor const angle_TE = at::arange(length, wide).unsqueeze(1) * frequency_E;
  return {angle_TE.cos().to(options.dtype()), angle_TE.sin().to(options.dtype())};
}

Tensor rotary(Tensor const& x_RHE, Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE) {
  Tensor const cos = cos_TE.index_select(0, positions_R).unsqueeze(1), sin = sin_TE.index_select(0, positions_R).unsqueeze(1);
  auto const halves = x_RHE.chunk(2, -1);
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1);
}

std::tuple<Tensor, Tensor, Tensor> split_rotary(Tensor const& qkv_RX, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                                Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE) {
  if (is_fused(qkv_RX)) {
    auto const parts = SplitRotary::apply(qkv_RX, heads, kv_heads, head_dim, positions_R, cos_TE, sin_TE);
    return {parts[0], parts[1], parts[2]};
  }
  auto const parts = qkv_RX.split_with_sizes({heads * head_dim, kv_heads * head_dim, kv_heads * head_dim}, 1);
  return {rotary(parts[0].unflatten(1, {heads, head_dim}), positions_R, cos_TE, sin_TE),
          rotary(parts[1].unflatten(1, {kv_heads, head_dim}), positions_R, cos_TE, sin_TE), parts[2].unflatten(1, {kv_heads, head_dim})};
}

Tensor top_k(Tensor const& scores_BT, int64_t K) {
  int64_t const B = scores_BT.size(0), T = scores_BT.size(1);
  // A stable sort keeps equal scores in order of position, which at::topk does not promise.
  Tensor const order_BT = std::get<1>(at::sort(scores_BT.detach(), /*stable=*/true, 1, /*descending=*/true));
  Tensor const index_BK = std::get<0>(order_BT.narrow(1, 0, K).sort(1));
  return (index_BK + at::arange(B, index_BK.options()).unsqueeze(1) * T).reshape({-1});
}

Tensor gather_rows(Tensor const& x_ND, Tensor const& index_R) { return x_ND.index_select(0, index_R); }

Tensor scatter_add_rows(Tensor const& x_ND, Tensor const& index_R, Tensor const& delta_RD, Tensor const& weight_R) {
  if (is_fused(x_ND))
    return ScatterAddRows::apply(x_ND, index_R, delta_RD, weight_R.defined() ? std::optional<Tensor>(weight_R) : std::nullopt);
  return x_ND.index_add(0, index_R, weight_R.defined() ? weight_R.unsqueeze(1) * delta_RD : delta_RD);
}

Tensor linear_cross_entropy(Tensor const& x_ND, Tensor const& weight_VD, Tensor const& targets_N) {
  bool const differentiable = at::GradMode::is_enabled() && (x_ND.requires_grad() || weight_VD.requires_grad());
  return differentiable ? LinearCrossEntropy::apply(x_ND, weight_VD, targets_N) : token_losses(x_ND, weight_VD, targets_N).sum();
}

Tensor token_losses(Tensor const& x_ND, Tensor const& weight_VD, Tensor const& targets_N) {
  at::NoGradGuard no_grad;
  int64_t const rows = x_ND.size(0), step = chunk_rows(weight_VD.size(0));
  Tensor losses_N = at::empty({rows}, x_ND.options());
  for (int64_t first = 0; first < rows; first += step) {
    int64_t const n = std::min(step, rows - first);
    Tensor logits = gemm(x_ND.narrow(0, first, n), weight_VD.t());
    losses_N.narrow(0, first, n).copy_(chunk_cross_entropy(logits, targets_N.narrow(0, first, n), false));
  }
  return losses_N;
}

Tensor binary_cross_entropy_sum(Tensor const& logits_N, Tensor const& targets_N) {
  return at::binary_cross_entropy_with_logits(logits_N, targets_N, {}, {}, at::Reduction::Sum);
}

}  // namespace isobath::ops
