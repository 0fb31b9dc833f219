#pragma once
// A slow reference of the nested model that uses masks and gathers nothing. The depth of each token is given, or with expert choice picked
// here.

#include <ATen/ATen.h>

#include <algorithm>
#include <cmath>

#include "core/random.h"
#include "tests/torch/reference.h"

namespace isobath::test {

struct NestedReference : Reference {
  using Reference::Reference;
  struct Result {
    at::Tensor x_BTD, logits_NB;
    std::vector<at::Tensor> branches_BTD;
    // Expert choice: one tensor per exit; losses are means over tokens and exits.
    std::vector<at::Tensor> executed_BT, topk_BT, causal_BT, score_BT;
    at::Tensor router_loss, predictor_loss, z_loss;
  };

  // The layer whose weights layer i uses.
  int64_t weights_of(int64_t i) const {
    while (depth.recursion && i >= depth.exits.at(1)) i -= depth.exits.at(1) - depth.exits.at(0);
    return i;
  }
  std::string norm_of(size_t branch) const {
    return depth.exit_norms && branch < depth.exits.size() ? "model.exit_norms." + std::to_string(branch) + ".weight" : "model.norm.weight";
  }

  Result run(at::Tensor const& tokens_BT, at::Tensor const& branch_BT, bool everything) const {
    return run({tokens_BT, {}, {}}, branch_BT, everything, Routing::topk, {});
  }
  Result run(ModelInput const& input, Routing routing, NoiseKey const& noise) const { return run(input, {}, false, routing, noise); }

 private:
  Result run(ModelInput const& input, at::Tensor const& branch_BT, bool everything, Routing routing, NoiseKey const& noise) const {
    int64_t const B = input.tokens_BT.size(0), T = input.tokens_BT.size(1), n = static_cast<int64_t>(depth.exits.size()) + 1;
    bool const expert = depth.choice.name() == "expert", random = depth.router == "random";
    Result result;
    at::Tensor x = at::embedding(w.at("model.embed_tokens.weight"), input.tokens_BT), p_BTB, gate_BT;
    at::Tensor const everyone = at::ones({B, T}, at::kBool);
    at::Tensor on = everyone, passed_BT = at::zeros({B, T}, at::kLong);
    int64_t passed = 0;
    for (int64_t i = 0; i < model.layers; ++i) {
      if (!expert && i == depth.decide_after && !random) {
        bool const sequence = depth.choice.name() == "sequence";
        at::Tensor h = sequence ? x.narrow(1, 0, depth.prefix).mean(1, true).expand({B, T, model.width}) : x;
        h = h / (h.pow(2).mean(-1, true) + 1e-6).sqrt();
        if (depth.router == "mlp") {
          at::Tensor const up = h.matmul(w.at("model.depth_gate.up.weight").t());
          h = up * up.sigmoid();
        }
        p_BTB = h.matmul(w.at("model.depth_gate.weight").t()) + w.at("model.depth_gate.bias");
        result.logits_NB = p_BTB.reshape({B * T, n});
        p_BTB = p_BTB.softmax(2);
      }
      if (passed < n - 1 && i == depth.exits[static_cast<size_t>(passed)]) {
        result.branches_BTD.push_back(norm(x, w.at(norm_of(static_cast<size_t>(passed)))));
        ++passed;
        if (expert) {
          uint64_t const key =
              make_key({noise.seed, static_cast<uint64_t>(noise.step), static_cast<uint64_t>(noise.stream), static_cast<uint64_t>(i)});
          pick(result, "model.layers." + std::to_string(i) + ".", x, input, on, routing, key, passed);
          gate_BT = gate(result.score_BT.back());
          on = result.executed_BT.back();
        } else {
          on = everything ? everyone : branch_BT.ge(passed);
        }
        passed_BT = passed_BT + on.to(at::kLong);
      }
      std::string const layer = "model.layers." + std::to_string(weights_of(i)) + ".";
      at::Tensor const attended = attention(layer, x, input, depth.skipped_kv.name() == "keep" ? everyone : on);
      at::Tensor const delta = attended + mlp(layer, x + attended);
      at::Tensor weight = on.to(x.scalar_type());
      if (passed > 0 && expert) {
        weight = weight * gate_BT;
      } else if (passed > 0 && !everything && !random) {
        at::Tensor goes_on = p_BTB.slice(2, passed).sum(2);
        if (depth.choice.name() == "sequence")
          goes_on = at::cat({at::ones({B, depth.prefix}, x.options()), goes_on.slice(1, depth.prefix)}, 1);
        if (depth.gate_training.name() == "weight") weight = weight * goes_on;
        if (depth.gate_training.name() == "gumbel") weight = weight * (1 + goes_on - goes_on.detach());
      }
      x = x + weight.unsqueeze(2) * delta;
    }
    std::vector<at::Tensor> norms;
    for (size_t branch = 0; branch < static_cast<size_t>(n); ++branch) norms.push_back(w.at(norm_of(branch)));
    result.x_BTD = norm(x, at::stack(norms).index_select(0, passed_BT.flatten()).view_as(x));
    result.branches_BTD.push_back(result.x_BTD);
    for (at::Tensor* loss : {&result.router_loss, &result.predictor_loss, &result.z_loss})
      if (loss->defined()) *loss = *loss / static_cast<double>(B * T * (n - 1));
    return result;
  }

  // Picks among the tokens `on`, with equal planned shares of the branches.
  void pick(Result& result, std::string const& layer, at::Tensor const& x, ModelInput const& input, at::Tensor const& on, Routing routing,
            uint64_t key, int64_t passed) const {
    int64_t const n = static_cast<int64_t>(depth.exits.size()) + 1, T = x.size(1);
    int64_t const K = std::max<int64_t>(1, T * (n - passed) / n);
    at::Tensor const r = score(layer, x, input, key), logit = causal_logit(layer, x, r, input, key), among = on.to(r.scalar_type());
    result.score_BT.push_back(r);
    result.topk_BT.push_back(best(r.detach().masked_fill(on.logical_not(), -INFINITY), input.segments_BT, K));
    double const cut = training ? 0 : w.at(layer + "router.cut").item<double>();
    result.causal_BT.push_back(logit.detach().gt(cut).logical_and(on));
    result.executed_BT.push_back(!input.replay_BT.empty()   ? input.replay_BT[result.executed_BT.size()]
                                 : routing == Routing::topk ? result.topk_BT.back()
                                                            : result.causal_BT.back());
    auto const add = [](at::Tensor& sum, at::Tensor const& term) { sum = sum.defined() ? sum + term : term; };
    at::Tensor const target = result.topk_BT.back().to(r.scalar_type());
    at::Tensor const bce = -((target * logit.sigmoid().log() + (1 - target) * (-logit).sigmoid().log()) * among).sum();
    if (depth.causal.name() == "bce") add(result.router_loss, bce);
    if (depth.causal.name() == "predictor") add(result.predictor_loss, bce);
    if (depth.z_loss_weight > 0) add(result.z_loss, ((1 + r.exp()).log().pow(2) * among).sum());
  }
};

// The dense model that equals one branch alone.
inline std::shared_ptr<LanguageModel> dense_branch(LanguageModel const& model, size_t branch) {
  NestedReference const reference(model);
  DepthConfig const& depth = model.depth_config();
  Shape dense{model.model_config(), {}, model.vocab_size()};
  if (branch < depth.exits.size()) dense.model.layers = depth.exits[branch];
  auto alone = make_model(dense);
  at::NoGradGuard no_grad;
  for (auto const& stored : alone->stored()) {
    std::string from = stored.name == "model.norm.weight" ? reference.norm_of(branch) : stored.name;
    if (from.starts_with("model.layers.")) {
      size_t const end = from.find('.', 13);
      from = "model.layers." + std::to_string(reference.weights_of(std::stoll(from.substr(13, end - 13)))) + from.substr(end);
    }
    at::Tensor(stored.tensor).copy_(reference.w.at(from));
  }
  return alone;
}

}  // namespace isobath::test
