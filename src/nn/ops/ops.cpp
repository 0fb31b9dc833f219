#include "nn/ops/ops.h"

#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/core/grad_mode.h>
#include <ATen/ops/arange.h>
#include <ATen/ops/binary_cross_entropy_with_logits.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/constant_pad_nd.h>
#include <ATen/ops/embedding.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/searchsorted.h>
#include <ATen/ops/sort.h>
#include <ATen/ops/where.h>
#include <ATen/ops/zeros.h>
#include <ATen/ops/zeros_like.h>
#include <ATen/record_function.h>
#include <torch/csrc/autograd/custom_function.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>
#include <optional>

#include "core/random.h"
#include "nn/backend/backend.h"
#include "nn/ops/gemm.h"

namespace isobath::ops {

using at::Tensor;
using torch::autograd::AutogradContext;
using torch::autograd::Function;
using torch::autograd::variable_list;

namespace {

struct RmsNorm : Function<RmsNorm> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& weight, double eps) {
    Tensor const x = x_in.reshape({-1, x_in.size(-1)}).contiguous();
    auto const [y, rstd] = backend_for(x).rms_norm(x, weight, eps);
    ctx->save_for_backward({x, weight, rstd});
    return y.view(x_in.sizes());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const& x = saved[0];
    auto const [dx, dweight] = backend_for(x).rms_norm_backward(grads[0].reshape(x.sizes()).contiguous(), x, saved[1], saved[2]);
    return {dx.view(grads[0].sizes()), dweight, Tensor()};
  }
};

struct Linear : Function<Linear> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x, Tensor const& weight) {
    Tensor const narrow_weight = weight.to(x.scalar_type());
    ctx->save_for_backward({x, narrow_weight});
    ctx->saved_data["weight_type"] = weight.scalar_type();
    return gemm_of_rows(x, narrow_weight.t());
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const &x = saved[0], &weight = saved[1], &dy = grads[0];
    at::ScalarType const weight_type = ctx->saved_data["weight_type"].toScalarType();
    return {ctx->needs_input_grad(0) ? gemm_of_rows(dy, weight) : Tensor(),
            ctx->needs_input_grad(1) ? gemm_over_rows(dy.t(), x).to(weight_type) : Tensor()};
  }
};

struct RowDot : Function<RowDot> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& weight_in) {
    Tensor const x = x_in.contiguous(), weight = weight_in.contiguous();
    ctx->save_for_backward({x, weight});
    return backend_for(x).row_dot(x, weight);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    auto const [dx, dweight] = backend_for(saved[0]).row_dot_backward(grads[0].contiguous(), saved[0], saved[1]);
    return {dx, dweight};
  }
};

struct SwiGlu : Function<SwiGlu> {
  static Tensor forward(AutogradContext* ctx, Tensor const& gate_up_in) {
    Tensor const gate_up = gate_up_in.contiguous();
    ctx->save_for_backward({gate_up});
    return backend_for(gate_up).swiglu(gate_up);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Tensor const gate_up = ctx->get_saved_variables()[0];
    return {backend_for(gate_up).swiglu_backward(grads[0].contiguous(), gate_up)};
  }
};

struct Gelu : Function<Gelu> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in) {
    Tensor const x = x_in.contiguous();
    ctx->save_for_backward({x});
    return backend_for(x).gelu(x);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Tensor const x = ctx->get_saved_variables()[0];
    return {backend_for(x).gelu_backward(grads[0].contiguous(), x)};
  }
};

struct SplitRotary : Function<SplitRotary> {
  static variable_list forward(AutogradContext* ctx, Tensor const& qkv_in, int64_t heads, int64_t kv_heads, int64_t head_dim,
                               Tensor const& positions, Tensor const& cos, Tensor const& sin) {
    Tensor const qkv = qkv_in.contiguous();
    auto const [q, k, v] = backend_for(qkv).split_rotary(qkv, heads, kv_heads, head_dim, positions, cos, sin);
    ctx->save_for_backward({positions, cos, sin});
    return {q, k, v};
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const dq = grads[0].contiguous(), dk = grads[1].contiguous(), dv = grads[2].contiguous();
    Tensor const dqkv = backend_for(dq).split_rotary_backward(dq, dk, dv, saved[0], saved[1], saved[2]);
    return {dqkv, Tensor(), Tensor(), Tensor(), Tensor(), Tensor(), Tensor()};
  }
};

// Rows are distinct, which index_select's own backward pass cannot know: it adds where copying does.
struct GatherRows : Function<GatherRows> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x, Tensor const& index) {
    ctx->save_for_backward({index});
    ctx->saved_data["rows"] = x.size(0);
    return x.index_select(0, index);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    Tensor const index = ctx->get_saved_variables()[0], &dy = grads[0];
    Tensor const dx = at::zeros({ctx->saved_data["rows"].toInt(), dy.size(1)}, dy.options());
    return {dx.index_copy_(0, index, dy), Tensor()};
  }
};

struct ScatterAddRows : Function<ScatterAddRows> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& index, Tensor const& delta_in,
                        std::optional<Tensor> const& weight_in) {
    Tensor const x = x_in.contiguous(), delta = delta_in.contiguous(), weight = weight_in ? weight_in->contiguous() : Tensor();
    ctx->save_for_backward({index, delta, weight});
    return backend_for(x).scatter_add_rows(x, index, delta, weight);
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    Tensor const dy = grads[0].contiguous();
    auto const [ddelta, dweight] = backend_for(dy).scatter_add_rows_backward(dy, saved[0], saved[1], saved[2]);
    return {dy, Tensor(), ddelta, dweight};
  }
};

// Rows whose logits exist at one time. On the CPU about 4 MiB of floats, which the last-level cache can hold; elsewhere 512 MiB of
// bfloat16, for every chunk adds to the whole gradient of the weight.
int64_t chunk_rows(Tensor const& x, int64_t vocab) {
  if (x.is_cpu()) return std::max<int64_t>(64, (int64_t{1} << 20) / vocab);
  return std::max<int64_t>(1, (int64_t{1} << 28) / vocab / 256) * 256;
}

struct LinearCrossEntropy : Function<LinearCrossEntropy> {
  static Tensor forward(AutogradContext* ctx, Tensor const& x_in, Tensor const& wide_weight, Tensor const& targets,
                        std::optional<Tensor> const& losses) {
    Tensor const x = x_in.contiguous(), weight = wide_weight.to(x.scalar_type());
    int64_t const rows = x.size(0), step = chunk_rows(x, weight.size(0));
    Tensor loss = at::zeros({}, wide_weight.options()), dx = at::empty_like(x), dweight = at::zeros_like(wide_weight);
    for (int64_t first = 0; first < rows; first += step) {
      int64_t const n = std::min(step, rows - first);
      Tensor const x_chunk = x.narrow(0, first, n), logits = gemm(x_chunk, weight.t());
      Tensor const losses_n = backend_for(x).cross_entropy(logits, targets.narrow(0, first, n), /*gradients=*/true);
      loss += losses_n.sum();
      if (losses) losses->narrow(0, first, n).copy_(losses_n);
      gemm_into(dx.narrow(0, first, n), logits, weight);
      gemm_into(dweight, logits.t(), x_chunk, /*accumulate=*/true);
    }
    ctx->save_for_backward({dx, dweight});
    return loss;
  }

  static variable_list backward(AutogradContext* ctx, variable_list grads) {
    auto const saved = ctx->get_saved_variables();
    return {(saved[0] * grads[0]).to(saved[0].scalar_type()), saved[1] * grads[0], Tensor(), Tensor()};
  }
};

}  // namespace

Tensor rms_norm(Tensor const& x_RD, Tensor const& weight_D, double eps) {
  RECORD_FUNCTION("ops::rms_norm", c10::ArrayRef<c10::IValue const>());
  return RmsNorm::apply(x_RD, weight_D, eps);
}

Tensor unit_rms(Tensor const& x_RD) { return rms_norm(x_RD, at::ones({x_RD.size(1)}, wide_options(x_RD)), 1e-6); }

Tensor linear(Tensor const& x_RI, Tensor const& weight_OI) {
  RECORD_FUNCTION("ops::linear", c10::ArrayRef<c10::IValue const>());
  return Linear::apply(x_RI, weight_OI);
}

Tensor row_dot(Tensor const& x_ND, Tensor const& weight_D) {
  RECORD_FUNCTION("ops::row_dot", c10::ArrayRef<c10::IValue const>());
  return RowDot::apply(x_ND, weight_D);
}

Tensor swiglu(Tensor const& gate_up_RX) {
  RECORD_FUNCTION("ops::swiglu", c10::ArrayRef<c10::IValue const>());
  return SwiGlu::apply(gate_up_RX);
}

Tensor gelu(Tensor const& x_RF) {
  RECORD_FUNCTION("ops::gelu", c10::ArrayRef<c10::IValue const>());
  return Gelu::apply(x_RF);
}

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
  return at::cat({halves[0] * cos - halves[1] * sin, halves[1] * cos + halves[0] * sin}, -1).to(x_RHE.scalar_type());
}

std::tuple<Tensor, Tensor, Tensor> split_rotary(Tensor const& qkv_RX, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                                Tensor const& positions_R, Tensor const& cos_TE, Tensor const& sin_TE) {
  RECORD_FUNCTION("ops::split_rotary", c10::ArrayRef<c10::IValue const>());
  auto const parts = SplitRotary::apply(qkv_RX, heads, kv_heads, head_dim, positions_R, cos_TE, sin_TE);
  return {parts[0], parts[1], parts[2]};
}

at::TensorOptions wide_options(Tensor const& x) { return x.scalar_type() == at::kDouble ? x.options() : x.options().dtype(at::kFloat); }

Tensor look_up(Tensor const& table_V, Tensor const& index_N) { return at::embedding(table_V.unsqueeze(1), index_N).squeeze(1); }

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

Tensor top_k(Tensor const& scores_BT, int64_t K) {
  RECORD_FUNCTION("ops::top_k", c10::ArrayRef<c10::IValue const>());
  Tensor const scores = scores_BT.detach().contiguous();
  return backend_for(scores).top_k(scores, K);
}

Tensor top_k_of_documents(Tensor const& scores_BT, Tensor const& segments_BT, int64_t K) {
  RECORD_FUNCTION("ops::top_k_of_documents", c10::ArrayRef<c10::IValue const>());
  int64_t const T = scores_BT.size(1);
  Tensor const begin_BT = at::searchsorted(segments_BT, segments_BT), end_BT = at::searchsorted(segments_BT, segments_BT, false, true);
  // Candidates before each place: T at the end where no score is -inf.
  Tensor const before_BX = at::constant_pad_nd(scores_BT.detach().ne(-std::numeric_limits<double>::infinity()).cumsum(1), {1, 0});
  Tensor const all_B1 = before_BX.narrow(1, T, 1).clamp_min(1);
  auto const share_BT = [&](Tensor const& place_BT) { return before_BX.gather(1, place_BT).mul(K).floor_divide(all_B1); };
  Tensor const quota_BT = share_BT(end_BT) - share_BT(begin_BT);
  // Document by document, each from its best token down: the token at place t of this order is one of the document at place t.
  Tensor const by_score_BT = std::get<1>(scores_BT.detach().sort(/*stable=*/true, 1, /*descending=*/true));
  Tensor const by_document_BT = std::get<1>(segments_BT.gather(1, by_score_BT).sort(/*stable=*/true, 1, /*descending=*/false));
  Tensor const chosen_BT = (at::arange(T, begin_BT.options()) - begin_BT).lt(quota_BT);
  Tensor const picked_BT =
      at::zeros_like(scores_BT).scatter_(1, by_score_BT.gather(1, by_document_BT), chosen_BT.to(scores_BT.scalar_type()));
  return top_k(picked_BT, K);
}

Tensor gather_rows(Tensor const& x_ND, Tensor const& index_R) {
  RECORD_FUNCTION("ops::gather_rows", c10::ArrayRef<c10::IValue const>());
  return GatherRows::apply(x_ND, index_R);
}

Tensor scatter_add_rows(Tensor const& x_ND, Tensor const& index_R, Tensor const& delta_RD, Tensor const& weight_R) {
  RECORD_FUNCTION("ops::scatter_add_rows", c10::ArrayRef<c10::IValue const>());
  return ScatterAddRows::apply(x_ND, index_R, delta_RD, weight_R.defined() ? std::optional<Tensor>(weight_R) : std::nullopt);
}

Tensor linear_cross_entropy(Tensor const& x_ND, Tensor const& weight_VD, Tensor const& targets_N, Tensor* losses_N) {
  RECORD_FUNCTION("ops::linear_cross_entropy", c10::ArrayRef<c10::IValue const>());
  bool const differentiable = at::GradMode::is_enabled() && (x_ND.requires_grad() || weight_VD.requires_grad());
  if (!differentiable) {
    Tensor const losses = token_losses(x_ND, weight_VD, targets_N);
    if (losses_N) *losses_N = losses;
    return losses.sum();
  }
  if (losses_N) *losses_N = at::empty({x_ND.size(0)}, weight_VD.options().requires_grad(false));
  return LinearCrossEntropy::apply(x_ND, weight_VD, targets_N, losses_N ? std::optional<Tensor>(*losses_N) : std::nullopt);
}

Tensor token_losses(Tensor const& x_ND, Tensor const& weight_VD, Tensor const& targets_N) {
  at::NoGradGuard no_grad;
  Tensor const weight = weight_VD.to(x_ND.scalar_type());
  int64_t const rows = x_ND.size(0), step = chunk_rows(x_ND, weight.size(0));
  Tensor losses_N = at::empty({rows}, weight_VD.options());
  for (int64_t first = 0; first < rows; first += step) {
    int64_t const n = std::min(step, rows - first);
    Tensor const logits = gemm(x_ND.narrow(0, first, n), weight.t());
    losses_N.narrow(0, first, n).copy_(backend_for(x_ND).cross_entropy(logits, targets_N.narrow(0, first, n), /*gradients=*/false));
  }
  return losses_N;
}

Tensor binary_cross_entropy_sum(Tensor const& logits_N, Tensor const& targets_N) {
  return at::binary_cross_entropy_with_logits(logits_N, targets_N, {}, {}, at::Reduction::Sum);
}

}  // namespace isobath::ops
