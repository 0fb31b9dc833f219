#include "config/sections/depth_router.h"

#include <algorithm>

#include "config/row.h"
#include "config/sections/routers.h"
#include "config/sections/sections.h"

namespace isobath {
namespace {

std::vector<std::string> router_names() {
  std::vector<std::string> names;
  for (RouterKind const& kind : router_kinds()) names.push_back(kind.name);
  return names;
}

// A router learns through the gate or through the bce; a random one does not.
void check_training(DepthConfig const& depth, RouterKind const& router, std::vector<Contradiction>& found) {
  if (router.learned() && depth.gate == Gate::none && depth.causal != Causal::bce) {
    found.push_back(
        {{"depth.gate", "depth.causal", "depth.router"},
         "with gate none, only `causal: bce` gives the " + depth.router + " router a gradient (causal is " + depth.causal.name() + ")"});
  }
  if (router.random && depth.causal != Causal::none) {
    found.push_back({{"depth.causal", "depth.router"},
                     "a random router leaves nothing to learn for `causal: " + depth.causal.name() + "`; write `causal: none`"});
  } else if (!router.learned() && depth.causal == Causal::bce) {
    found.push_back({{"depth.causal", "depth.router"},
                     "the " + depth.router + " router has no parameters that `causal: bce` could train; write none or predictor"});
  }
  if (!router.learned() && depth.z_loss_weight > 0) {
    found.push_back({{"depth.z_loss_weight", "depth.router"},
                     "the " + depth.router + " router has no parameters that depth.z_loss_weight could train"});
  }
  if (depth.bce_detach && depth.causal != Causal::bce) {
    found.push_back(
        {{"depth.bce_detach", "depth.causal"}, "depth.bce_detach goes with `causal: bce` (causal is " + depth.causal.name() + ")"});
  }
}

void check_scores(DepthConfig const& depth, RouterKind const& router, std::vector<Contradiction>& found) {
  if (!router.takes_input && depth.router_input != RouterInputForm::raw) {
    found.push_back(
        {{"depth.router_input", "depth.router"}, "the " + depth.router + " router does not depend on depth.router_input; leave it out"});
  }
  if (depth.router_init == RouterInit::zero && (!router.learned() || depth.router == "cosine")) {
    found.push_back(
        {{"depth.router_init", "depth.router"},
         "depth.router_init: zero needs scores that can start at 0 (linear, mlp, position, token); the router is " + depth.router});
  }
  if (router.random && depth.score_noise > 0) {
    found.push_back({{"depth.score_noise", "depth.router"}, "a random router's scores are noise already; leave depth.score_noise out"});
  }
  if (depth.threshold_training && depth.score_noise > 0) {
    found.push_back({{"depth.score_noise", "depth.threshold_training"},
                     "depth.score_noise disturbs top-k's choice, and depth.threshold_training does not make it"});
  }
  if (depth.gate_alpha != 1 && depth.gate != Gate::sigmoid) {
    found.push_back({{"depth.gate_alpha", "depth.gate"}, "depth.gate_alpha goes with `gate: sigmoid` (gate is " + depth.gate.name() + ")"});
  }
}

}  // namespace

int64_t resolved_router_width(ModelConfig const& model, RouterOptions const& depth) {
  return depth.router_width > 0 ? depth.router_width : std::max<int64_t>(8, model.width / 4);
}

int64_t resolved_predictor_width(ModelConfig const& model, RouterOptions const& depth) {
  return depth.predictor_width > 0 ? depth.predictor_width : std::max<int64_t>(8, model.width / 4);
}

std::vector<ConfigField> router_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(depth.router), choice, identity,
        "How a token is scored. linear: x w of the block's input x; mlp: a small network on x; cosine: by the direction of x alone. "
        "Controls: "
        "random: noise; position: a number for each position; token: a number for each vocabulary item; norm: the root mean square of x.")
          .one_of(router_names()),
      R(KEY(depth.router_input), choice, identity,
        "What the linear and mlp routers score. raw: the block's input; normalised: that divided by its root mean square."),
      R(KEY(depth.router_width), integer, identity, "Hidden width of the mlp router; auto: width / 4, at least 8.")
          .between(1, 1 << 20)
          .zero_is("auto"),
      R(KEY(depth.router_init), choice, identity,
        "Initial values of a router's last weights. random: small ones; zero: all scores are 0, so that with gate tanh or sigmoid2 the "
        "factor "
        "is 1 and a dense model's blocks (train.init_from) begin unchanged; depth.capacity_warmup then lets all tokens through at first."),
      R(KEY(depth.router_lr), real, schedule, "Learning rate of routers, as a factor on train.lr.").above(0).between(0, 1000),
      R(KEY(depth.predictor_lr), real, schedule,
        "Learning rate of predictors, as a factor on train.lr: above 1 where a pretrained model is trained with a low one.")
          .above(0)
          .between(0, 1000),
      R(KEY(depth.router_weight_decay), real, schedule, "AdamW's decay of routers.").between(0, 100),
      R(KEY(depth.z_loss_weight), real, schedule, "Weight of the z-loss, softplus(score)^2, which keeps scores small.").between(0, 1000),
      R(KEY(depth.score_noise), real, schedule, "Deviation of the normal noise that is added to scores when training selects.")
          .between(0, 1000),
      R(KEY(depth.gate), choice, identity,
        "Factor on what a routed block adds, from the token's score r. raw: r; sigmoid: gate_alpha sigmoid(r); sigmoid2: 2 sigmoid(r); "
        "tanh: 1 "
        "+ 0.2 tanh(r); none: 1, so that the language model does not train the router."),
      R(KEY(depth.gate_alpha), real, identity, "Factor of gate: sigmoid.").above(0).between(0, 1000),
      R(KEY(depth.causal), choice, identity,
        "How generation, which cannot look ahead, decides whether a token runs. bce: by the sign of its score, which a binary "
        "cross-entropy "
        "trains; predictor: by a small network that predicts top-k's selection; threshold: by its score against a running quantile; none: "
        "the "
        "model learns no decision; a calibrated threshold is used (router: random: a coin)."),
      R(KEY(depth.threshold_training), boolean, identity,
        "With `causal: threshold`: training selects by it, too, and so is causal itself."),
      R(KEY(depth.bce_weight), real, schedule, "Weight of the bce loss.").between(0, 1000),
      R(KEY(depth.bce_detach), boolean, identity, "The bce trains the router alone, not the trunk below it."),
      R(KEY(depth.predictor_width), integer, identity, "Hidden width of the predictor; auto: width / 4, at least 8.")
          .between(1, 1 << 20)
          .zero_is("auto"),
      R(KEY(depth.threshold_decay), real, schedule, "Decay of the running quantile behind the threshold of `causal: none` and `threshold`.")
          .between(0, 1)
          .below(1),
  };
}

void check_router(DepthConfig const& depth, std::vector<Contradiction>& found) {
  RouterKind const& router = router_kind(depth.router);
  check_training(depth, router, found);
  check_scores(depth, router, found);
  if (depth.threshold_training && depth.causal != Causal::threshold) {
    found.push_back({{"depth.threshold_training", "depth.causal"},
                     "depth.threshold_training goes with `causal: threshold` (causal is " + depth.causal.name() + ")"});
  }
}

}  // namespace isobath
