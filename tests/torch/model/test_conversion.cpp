// What turns one model into another: updates of low rank, layers left out.

#include <ATen/ATen.h>

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include "model/weights.h"
#include "tests/torch/reference.h"
#include "trainer/evaluate/layer_importance.h"

using namespace isobath;
using namespace isobath::test;

namespace {

StoredWeights as_stored(LanguageModel const& model) {
  StoredWeights weights;
  for (auto const& [name, tensor] : export_weights(model)) {
    at::Tensor const copy = tensor.clone();
    weights.push_back({name, copy.sizes().vec(), [copy] { return copy.clone(); }});
  }
  return weights;
}

at::Tensor losses_of(LanguageModel& model, Shape const& shape, Routing routing) {
  at::NoGradGuard const no_grad;
  at::Tensor const tokens_BT = random_tokens(2, 16, shape.vocab);
  return ops::token_losses(model.forward({tokens_BT, {}, {}}, routing, {}).x_ND, model.head_weight(), tokens_BT.roll(-1, 1).reshape({-1}));
}

}  // namespace

TEST_CASE("low rank: an update starts as nothing, learns beside fixed matrices, and merges into them", "[conversion]") {
  for (bool const gelu : {false, true})
    for (auto const skipped_kv : {SkippedKv::drop, SkippedKv::keep})
      for (auto const& [attention, mlp] : {std::pair(true, true), std::pair(true, false), std::pair(false, true)}) {
        Shape shape = small_shape("mod");
        shape.depth.skipped_kv = skipped_kv;
        shape.depth.causal = Causal::predictor;
        if (gelu) shape.model.mlp = MlpKind::gelu;
        INFO((gelu ? "gelu" : "swiglu") << ", skipped keys " << Choice<SkippedKv>(skipped_kv).name() << ", attention " << attention
                                        << ", mlp " << mlp);
        auto const model = make_model(shape, at::kFloat);
        at::Tensor const before_N = losses_of(*model, shape, Routing::topk);
        model->add_low_rank(3, attention, mlp, 7);
        CHECK(losses_of(*model, shape, Routing::topk).equal(before_N));

        at::Tensor const tokens_BT = random_tokens(2, 16, shape.vocab);
        ModelOutput output = model->forward({tokens_BT, {}, {}}, Routing::topk, {});
        model->training_loss_sum(output, tokens_BT.roll(-1, 1)).backward();
        at::NoGradGuard const no_grad;
        size_t updates = 0;
        for (TrainedParameter const& parameter : model->trained()) {
          INFO(parameter.name);
          bool const of_attention = parameter.name.find("self_attn") != std::string::npos;
          bool const is_matrix = parameter.name.find("_proj") != std::string::npos;
          if (is_low_rank(parameter.name)) {
            ++updates;
            REQUIRE(parameter.tensor.grad().defined());
            // The outer matrix is zero, and so is the inner one's gradient.
            CHECK(parameter.tensor.grad().any().item<bool>() == parameter.name.ends_with("lora_up.weight"));
            parameter.tensor.add_(normal_tensor(parameter.tensor.sizes(), 11 + updates).to(at::kFloat), 0.05);
          } else if (is_matrix && (of_attention ? attention : mlp)) {
            CHECK(!parameter.tensor.requires_grad());
          }
        }
        CHECK(updates == static_cast<size_t>(shape.model.layers) * (attention && mlp ? 8 : 4));

        auto const merged = make_model(shape, at::kFloat, 99);
        CHECK(import_weights(*merged, merged_low_rank(as_stored(*model))).empty());
        for (Routing const routing : {Routing::topk, Routing::causal}) {
          at::Tensor const live_N = losses_of(*model, shape, routing), merged_N = losses_of(*merged, shape, routing);
          CHECK((live_N - merged_N).abs().max().item<double>() < 2e-5);
          CHECK(!live_N.allclose(before_N));
        }
      }
}

TEST_CASE("chosen layers: the others are gone and nothing else changes", "[conversion]") {
  Shape shape = small_shape("dense");
  shape.model.layers = 4;
  auto const model = make_model(shape);
  StoredWeights const all = as_stored(*model), some = chosen_layers(all, {3, 1});
  CHECK(chosen_layers(all, {}).size() == all.size());
  std::map<std::string, at::Tensor> before, after;
  for (StoredWeight const& weight : all) before[weight.name] = weight.read();
  for (StoredWeight const& weight : some) after[weight.name] = weight.read();
  CHECK(after.at("model.layers.0.mlp.down_proj.weight").equal(before.at("model.layers.3.mlp.down_proj.weight")));
  CHECK(after.at("model.layers.1.self_attn.q_proj.weight").equal(before.at("model.layers.1.self_attn.q_proj.weight")));
  CHECK(after.at("model.embed_tokens.weight").equal(before.at("model.embed_tokens.weight")));
  CHECK(!after.contains("model.layers.2.mlp.down_proj.weight"));
}

// A part whose last matrix is zero adds nothing.
TEST_CASE("a part of a layer is left out as if it added nothing", "[conversion]") {
  Shape shape = small_shape("dense");
  shape.model.layers = 3;
  auto const model = make_model(shape);
  at::Tensor const tokens_BT = random_tokens(2, 16, shape.vocab);
  for (RoutedPart const part : {RoutedPart::block, RoutedPart::attention, RoutedPart::mlp}) {
    std::vector<at::Tensor> without;
    model->visit_without_each_layer({tokens_BT, {}, {}}, part, {}, [&](int64_t layer, at::Tensor const& x_ND) {
      CHECK(layer == (without.size() == 3 ? -1 : std::ssize(without)));
      without.push_back(x_ND);
    });
    REQUIRE(without.size() == 4);
    CHECK(without[3].equal(model->forward({tokens_BT, {}, {}}, Routing::causal, {}).x_ND));
    std::vector<at::Tensor> without_1_and;
    model->visit_without_each_layer({tokens_BT, {}, {}}, part, {1},
                                    [&](int64_t, at::Tensor const& x_ND) { without_1_and.push_back(x_ND); });
    REQUIRE(without_1_and.size() == 3);
    CHECK(without_1_and[2].equal(without[1]));
    CHECK(!without_1_and[0].allclose(without[0]));
    for (int64_t layer = 0; layer < 3; ++layer) {
      auto const other = make_model(shape);
      at::NoGradGuard const no_grad;
      std::string const prefix = "model.layers." + std::to_string(layer);
      for (auto const& [name, skips] : {std::pair(".self_attn.o_proj.weight", part != RoutedPart::mlp),
                                        std::pair(".mlp.down_proj.weight", part != RoutedPart::attention)})
        if (skips) stored_tensor(*other, prefix + name).zero_();
      at::Tensor const expected_ND = other->forward({tokens_BT, {}, {}}, Routing::causal, {}).x_ND;
      CHECK((without[static_cast<size_t>(layer)] - expected_ND).abs().max().item<double>() < 1e-12);
    }
  }
  CHECK(least_missed_first({3, 1, 2, 1}) == std::vector<int64_t>{1, 3, 2, 0});
  CHECK(least_missed_first({3, 1, 2, 1}, {1, 2}) == std::vector<int64_t>{3, 0});
  auto const routed = make_model(small_shape("mod"));
  CHECK_THROWS(routed->visit_without_each_layer({tokens_BT, {}, {}}, RoutedPart::block, {}, [](int64_t, at::Tensor const&) {}));
}
