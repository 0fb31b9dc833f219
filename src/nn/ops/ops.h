#pragma once
// All arithmetic of the models, as free functions with gradients, so that a faster kernel can replace a function's implementation without a
// change to any model. backend.h chooses the implementation: our own loops on the CPU, the plug-in's kernels on CUDA, ATen operators
// elsewhere.
//
// Activations are float, double or bfloat16; weights, scores, gates and losses have the wide type: double for double, else float. Where
// activations are bfloat16, weights are rounded to it for the computation and their gradients returned in the wide type.
//
// Shapes: B sequences, T time, K routed tokens, R packed rows, D width, H heads, G key-value heads, E head dim, F hidden, V vocabulary.

#include <ATen/core/Tensor.h>

#include <tuple>
#include <variant>

namespace isobath::ops {

// x_RD * weight_D / sqrt(mean(x^2) + eps), over the last dimension (Zhang & Sennrich 2019).
at::Tensor rms_norm(at::Tensor const& x_RD, at::Tensor const& weight_D, double eps);

// x / sqrt(mean(x^2) + 1e-6), without weights: for routers, predictors and skip paths, because the residual stream grows with depth.
at::Tensor unit_rms(at::Tensor const& x_RD);

// x_RI W_OI^T.
at::Tensor linear(at::Tensor const& x_RI, at::Tensor const& weight_OI);
// x_ND weight_D: [N], computed and returned in the type of weight_D.
at::Tensor row_dot(at::Tensor const& x_ND, at::Tensor const& weight_D);

// silu(gate) * up of gate_up_RX = [gate_RF | up_RF] (Shazeer 2020).
at::Tensor swiglu(at::Tensor const& gate_up_RX);
at::Tensor gelu(at::Tensor const& x_RF);  // tanh form

// cos and sin of position * theta^(-2i/E) for positions 0..length-1: [length, E/2] each.
std::tuple<at::Tensor, at::Tensor> rotary_tables(int64_t length, int64_t head_dim, double theta, at::TensorOptions const& options);

// Splits qkv_RX = [q_RHE | k_RGE | v_RGE] and rotates queries and keys by the rows' original positions (rotate-half, as Llama's).
std::tuple<at::Tensor, at::Tensor, at::Tensor> split_rotary(at::Tensor const& qkv_RX, int64_t heads, int64_t kv_heads, int64_t head_dim,
                                                            at::Tensor const& positions_R, at::Tensor const& cos_TE,
                                                            at::Tensor const& sin_TE);

// Rotates queries or keys alone, which were split and normalised before (QK norm).
at::Tensor rotary(at::Tensor const& x_RHE, at::Tensor const& positions_R, at::Tensor const& cos_TE, at::Tensor const& sin_TE);

// Tensor options with the device and the wide type of x.
at::TensorOptions wide_options(at::Tensor const& x);
// table_V[index_N], with a gradient that adds up equal indices in a fixed order.
at::Tensor look_up(at::Tensor const& table_V, at::Tensor const& index_N);

// Standard normal numbers: number i is core/random's random_normal(key, counter_N[i]), on every device up to rounding. counter_N: int64, on
// the device of `options`.
at::Tensor random_normal(uint64_t key, at::Tensor const& counter_N, at::TensorOptions const& options);
at::Tensor random_normal(uint64_t key, int64_t count, at::TensorOptions const& options);  // counters 0, 1, 2, ...

// Indices of the K largest scores of every sequence, ascending, as flat indices b * T + t; ties go to the lower position. Reads nothing
// from the device.
at::Tensor top_k(at::Tensor const& scores_BT, int64_t K);

// The same with K divided among documents. A document is a run of equal values in segments_BT, which ascends; the one from place a up to b
// gets its floor(K b / T) - floor(K a / T) highest scores. So every sequence still has K selected tokens, each document its share to within
// one, and the selection in a document depends on the lengths of the others but not on their scores. T, a and b count only the tokens whose
// score is not -inf, of which there must be at least K.
at::Tensor top_k_of_documents(at::Tensor const& scores_BT, at::Tensor const& segments_BT, int64_t K);

// The rows index_R (each at most once).
at::Tensor gather_rows(at::Tensor const& x_ND, at::Tensor const& index_R);
// x_ND with weight_R * delta_RD added to the rows index_R (each at most once). weight_R undefined: 1.
at::Tensor scatter_add_rows(at::Tensor const& x_ND, at::Tensor const& index_R, at::Tensor const& delta_RD, at::Tensor const& weight_R);

// Distillation (Hinton et al. 2015, arXiv 1503.02531, section 2): what a teacher says of the same rows, without gradients. Either its final
// hidden states and its head:
struct TeacherStates {
  at::Tensor x_ND, weight_VD;
};
// or its K likeliest tokens alone; then all other tokens are one event with the rest of the probability.
struct LikeliestTokens {
  at::Tensor ids_NK;    // int32 or int64; K different ones in a row
  at::Tensor log_p_NK;  // logarithms of their probabilities at the distillation's temperature
};
struct Distillation {
  std::variant<TeacherStates, LikeliestTokens> teacher;
  double weight = 1, temperature = 1;
};
// The K likeliest tokens of softmax(x_ND W_VD^T / temperature), in falling order; int64, and the logarithms in the wide type.
LikeliestTokens likeliest_tokens(at::Tensor const& x_ND, at::Tensor const& weight_VD, double temperature, int64_t K);

// The parts of linear_cross_entropy's sum, row by row, without gradients.
struct RowLosses {
  at::Tensor losses_N;       // cross-entropy of each row
  at::Tensor divergences_N;  // Kullback-Leibler divergence from the teacher's distribution, at the temperature; undefined without a teacher
};

// Sum over rows of -log softmax(x_ND W_VD^T)[target]; targets of -100 are ignored. With a teacher, each of these rows adds
// weight * temperature^2 * KL(softmax(teacher's logits / temperature) || softmax(logits / temperature)), where both distributions are over
// the teacher's likeliest tokens and the rest if it gives these alone. Works through the rows in chunks and computes the gradients on the
// way, so that never more than one chunk of logits exists.
at::Tensor linear_cross_entropy(at::Tensor const& x_ND, at::Tensor const& weight_VD, at::Tensor const& targets_N,
                                RowLosses* by_row = nullptr, Distillation const* distillation = nullptr);
// The same per row, without gradients (0 where ignored).
at::Tensor token_losses(at::Tensor const& x_ND, at::Tensor const& weight_VD, at::Tensor const& targets_N);

// Sum of binary cross-entropies of logits_N against targets_N in {0, 1}.
at::Tensor binary_cross_entropy_sum(at::Tensor const& logits_N, at::Tensor const& targets_N);

}  // namespace isobath::ops
