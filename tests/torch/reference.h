#pragma once
// A slow reference: the language model written with masks over all T tokens (nothing is gathered), straight from the stored weights, in
// whatever type they have. It shares no code with src/nn or src/model beyond the names of the weights.

#include <ATen/ATen.h>

#include <functional>
#include <map>
#include <string>

#include "model/language_model.h"

namespace isobath::test {

bool is_trained(std::string const& stored_name);  // not a threshold or cut
// Marks the K best scores of every sequence, the first among equals. With isolated documents the K are divided: mark i n / K, i = 1..K,
// counts for the document in which it lies, where n is the number of tokens whose score is not -inf.
at::Tensor best(at::Tensor const& score_BT, at::Tensor const& segments_BT, int64_t K);

struct Reference {
  ModelConfig model;
  DepthConfig depth;
  bool training;                        // then cuts do not count
  std::map<std::string, at::Tensor> w;  // leaves that require gradients

  explicit Reference(LanguageModel const& from);
  struct Output {
    at::Tensor x_BTD, router_loss, predictor_loss, z_loss;
    std::vector<at::Tensor> executed_BT, score_BT;  // one a routed layer
  };
  // Top-k: the K best scores of a sequence, or `topk_BT` of every routed layer where given. Causal: the decision's sign.
  Output forward(ModelInput const& input, Routing routing, NoiseKey const& noise = {}, std::vector<at::Tensor> const& topk_BT = {}) const;
  Output forward(at::Tensor const& tokens_BT, Routing routing, NoiseKey const& noise = {},
                 std::vector<at::Tensor> const& topk_BT = {}) const {
    return forward({tokens_BT, {}, {}}, routing, noise, topk_BT);
  }
  at::Tensor loss_sum(Output const& output, at::Tensor const& targets_BT) const;

 protected:
  at::Tensor norm(at::Tensor const& x, at::Tensor const& weight) const;
  at::Tensor rotate(at::Tensor const& x_BTHE, at::Tensor const& positions_BT) const;
  at::Tensor score(std::string const& layer, at::Tensor const& x_BTD, ModelInput const& input, uint64_t noise_key) const;
  at::Tensor gate(at::Tensor const& score_BT) const;
  at::Tensor causal_logit(std::string const& layer, at::Tensor const& x_BTD, at::Tensor const& score_BT, ModelInput const& input,
                          uint64_t noise_key) const;
  double capacity_of(size_t routed_layer) const;
  // The output of attention or MLP for every token; only tokens with present_BT serve as keys.
  at::Tensor attention(std::string const& layer, at::Tensor const& x_BTD, ModelInput const& input, at::Tensor const& present_BT) const;
  at::Tensor mlp(std::string const& layer, at::Tensor const& h_BTD) const;
};

// A small fp64 model in which every parameter differs from its initial value (norms are not 1).
struct Shape {
  ModelConfig model;
  DepthConfig depth;
  int64_t vocab = 23;
};
Shape small_shape(std::string const& kind = "mod");
// The last two of three layers are routed, K = 4 of 16. Settings that a router or gate does not read are set, too, and must not matter.
Shape tiny_shape();
std::shared_ptr<LanguageModel> make_model(Shape const& shape, at::ScalarType type = at::kDouble, uint64_t seed = 3);
// Ends a training step that consists of this pass: thresholds, prices and biases move, and small factors become skips when progress says
// so.
void finish_step(LanguageModel& model, ModelOutput const& output, bool updated = true, double progress = 0);
at::Tensor stored_tensor(LanguageModel const& model, std::string const& name);  // fails the test where there is none
// Gradients by stored name; zero where there is none.
std::map<std::string, at::Tensor> stored_gradients(LanguageModel const& model);
at::Tensor normal_tensor(at::IntArrayRef sizes, uint64_t key);  // fp64
at::Tensor random_tokens(int64_t B, int64_t T, int64_t vocab, uint64_t seed = 5);
// Compares the gradient along a random direction of the parameters that `moves` selects with the finite difference of the loss.
void check_direction(LanguageModel& model, std::function<at::Tensor()> const& loss, std::function<bool(std::string const&)> const& moves);
double largest_relative_difference(at::Tensor const& a, at::Tensor const& b);

}  // namespace isobath::test
