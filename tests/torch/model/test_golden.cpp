// Loss and every gradient of three small models, compared with an independent implementation (tests/golden/model.py, PyTorch in fp64). Its
// stored results are always compared. When ISOBATH_GOLDEN_DIR is set, the models are also written to that folder, and ctest then runs the
// script itself.

#include <ATen/ATen.h>

#include <catch2/catch_test_macros.hpp>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "format/safetensors.h"
#include "model/weights.h"
#include "tests/torch/reference.h"

using namespace isobath;
using namespace isobath::test;

namespace {

struct Case {
  std::string name;
  Shape shape;
};

std::vector<Case> cases() {
  auto const make = [](std::string const& name, std::string const& kind, std::string const& gate, std::string const& causal) {
    Case c{name, small_shape(kind)};
    c.shape.model.layers = 2;
    c.shape.model.width = 8;
    c.shape.model.heads = 2;
    c.shape.model.kv_heads = 1;
    c.shape.model.mlp_width = 12;
    c.shape.depth.offset = 1;
    c.shape.depth.gate = gate;
    c.shape.depth.causal = causal;
    return c;
  };
  std::vector<Case> all{make("dense", "dense", "raw", "none"), make("mod-raw-predictor", "mod", "raw", "predictor"),
                        make("mod-sigmoid-bce", "mod", "sigmoid", "bce")};
  all[0].shape.model.tie_embeddings = false;
  all[0].shape.model.mlp = "gelu";
  all[0].shape.model.qk_norm = true;
  return all;
}

std::string config_of(Shape const& shape) {
  ModelConfig const& m = shape.model;
  DepthConfig const& d = shape.depth;
  nlohmann::json const json{{"model",
                             {{"layers", m.layers},
                              {"heads", m.heads},
                              {"kv_heads", m.kv_heads},
                              {"mlp", m.mlp.name()},
                              {"rope_theta", m.rope_theta},
                              {"norm_eps", m.norm_eps},
                              {"qk_norm", m.qk_norm}}},
                            {"depth",
                             {{"kind", d.kind},
                              {"capacity", d.capacity.front()},
                              {"stride", d.stride},
                              {"offset", d.offset},
                              {"gate", d.gate.name()},
                              {"causal", d.causal.name()},
                              {"bce_weight", d.bce_weight}}}};
  return json.dump();
}

}  // namespace

TEST_CASE("loss and gradients equal an independent implementation's", "[golden]") {
  fs::path const reference_path = fs::path(ISOBATH_SOURCE_DIR) / "tests/golden/reference.safetensors";
  char const* folder = std::getenv("ISOBATH_GOLDEN_DIR");
  for (Case const& c : cases()) {
    INFO(c.name);
    auto model = make_model(c.shape);
    at::Tensor const tokens = random_tokens(2, 16, c.shape.vocab), targets = random_tokens(2, 16, c.shape.vocab, 6);
    targets[0][5] = -100;
    ModelOutput const output = model->forward({tokens, {}, {}}, Routing::topk, {});
    at::Tensor loss = model->loss_sum(output, targets) / targets.ge(0).sum();
    if (output.router_loss.defined()) loss = loss + c.shape.depth.bce_weight * output.router_loss;
    if (output.predictor_loss.defined()) loss = loss + output.predictor_loss;
    loss.backward();

    // Gradients under the weights' export names: a second model that holds them as its values splits the fused tensors.
    LanguageModel gradients(c.shape.model, c.shape.depth, c.shape.vocab, 1);
    gradients.to(at::kDouble);
    {
      at::NoGradGuard no_grad;
      auto values = gradients.named_parameters();
      for (auto const& item : model->named_parameters()) values[item.key()].copy_(item.value().grad());
    }
    NamedTensors tensors{{"loss", loss.detach()}};
    for (auto const& [name, gradient] : export_weights(gradients))
      if (!name.ends_with("threshold") && !name.ends_with("cut")) tensors.emplace_back("grad." + name, gradient);

    if (folder) {
      NamedTensors file = export_weights(*model);
      file.insert(file.end(), tensors.begin(), tensors.end());
      file.insert(file.end(), {{"tokens", tokens}, {"targets", targets}});
      write_tensors(fs::path(folder) / (c.name + ".safetensors"), file, {{"config", config_of(c.shape)}});
    }
    if (!fs::exists(reference_path) && folder) continue;  // the first run, whose files the reference is made from
    SafetensorsFile const reference(reference_path);
    for (auto const& [name, tensor] : tensors) {
      INFO(name);
      CHECK(largest_relative_difference(tensor, read_tensor(reference, c.name + "." + name)) < 1e-9);
    }
  }
}
