// Which keys of depth: can stand together.

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>

#include "tests/fast/config_folder.h"

using namespace isobath;

namespace {

// Refused by the loader, once, in its line, in words that hold all of `names`.
void refused(std::string const& depth, std::vector<std::string> const& names) {
  ConfigFolder const folder;
  INFO(depth);
  auto const found = folder.problems("name: a\ndepth: {kind: mod, " + depth + "}\n");
  for (std::string const& problem : found) UNSCOPED_INFO(problem);
  REQUIRE(found.size() == 1);
  CHECK(found[0].starts_with("x.yaml:2:"));
  for (std::string const& name : names) CHECK(found[0].substr(0, found[0].find('\n')).find(name) != std::string::npos);
  try {
    folder.load("name: a\ndepth: {kind: mod, " + depth + "}\n");
    FAIL("loaded");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::config);
  }
}

DepthConfig accepted(std::string const& depth) {
  ConfigFolder const folder;
  INFO(depth);
  auto const found = folder.problems("depth: {" + depth + "}\n");
  for (std::string const& problem : found) UNSCOPED_INFO(problem);
  REQUIRE(found.empty());
  return folder.load("depth: {" + depth + "}\n").config.depth;
}

}  // namespace

TEST_CASE("routers that have nothing to learn from what is asked of them") {
  refused("router: random", {"random", "predictor", "none"});
  refused("router: random, causal: bce", {"random", "bce", "none"});
  refused("router: random, causal: bce, gate: none", {"random"});
  refused("router: norm, causal: bce", {"norm", "bce"});
  refused("router: norm, causal: bce, gate: none", {"norm", "bce"});
  for (std::string const router : {"linear", "mlp", "position", "token"})
    for (std::string const causal : {"none", "predictor"})
      refused("router: " + router + ", gate: none, causal: " + causal, {"none", "bce", router});
}

TEST_CASE("options that the router does not read") {
  refused("threshold_training: true", {"threshold_training", "causal"});
  refused("threshold_training: true, causal: threshold, score_noise: 0.1", {"score_noise", "threshold_training"});
  refused("router: random, causal: threshold", {"random", "threshold"});
  refused("bce_detach: true", {"bce_detach", "causal"});
  refused("bce_detach: true, causal: none", {"bce_detach", "causal"});
  refused("bce_detach: true, causal: none, router: random", {"bce_detach"});
  for (std::string const router : {"position", "token", "norm"})
    refused("router_input: normalised, router: " + router, {"router_input", router});
  refused("router_input: normalised, router: random, causal: none", {"router_input", "random"});
  refused("z_loss_weight: 0.001, router: norm", {"z_loss_weight", "norm"});
  refused("z_loss_weight: 0.001, router: random, causal: none", {"z_loss_weight", "random"});
  refused("score_noise: 0.1, router: random, causal: none", {"score_noise", "random"});
}

TEST_CASE("router options out of range") {
  refused("router: lineer", {"depth.router", "lineer", "linear", "mlp", "random", "position", "token", "norm"});
  refused("router_input: normal", {"depth.router_input", "raw", "normalised"});
  refused("z_loss_weight: -1", {"depth.z_loss_weight", "-1"});
  refused("score_noise: -0.1", {"depth.score_noise", "-0.1"});
  refused("gate_alpha: -1", {"depth.gate_alpha", "-1"});
  refused("router_width: -3", {"depth.router_width", "-3"});
  refused("bce_detach: 1", {"depth.bce_detach"});
}

TEST_CASE("routers and options that go together") {
  CHECK(accepted("kind: mod").router == "linear");
  CHECK(accepted("kind: mod").router_input == "raw");
  CHECK(accepted("kind: mod").gate_alpha == 1);
  CHECK(accepted("kind: mod").z_loss_weight == 0);
  CHECK(accepted("kind: mod").score_noise == 0);
  CHECK(!accepted("kind: mod").bce_detach);
  CHECK(accepted("kind: mod, router: mlp, router_width: auto").router_width == 0);
  CHECK(accepted("kind: mod, router: mlp, router_width: 12").router_width == 12);
  CHECK(accepted("kind: mod, capacity: 1.0").capacity == std::vector{1.0});
  CHECK(accepted("kind: mod, capacity: 1.0, router: random, causal: none, gate: none").capacity == std::vector{1.0});
  CHECK(accepted("kind: mod, causal: bce, bce_detach: true, gate: none, score_noise: 0.5").bce_detach);
  CHECK(accepted("kind: mod, router: norm, causal: predictor, gate: none, score_noise: 0.5").score_noise == 0.5);
  for (std::string const router : {"mlp", "position", "token", "norm"}) {
    CHECK(accepted("kind: mod, router: " + router).router == router);
    CHECK(accepted("kind: mod, causal: none, router: " + router).causal == "none");
  }
  for (std::string const router : {"linear", "mlp"})
    CHECK(accepted("kind: mod, router_input: normalised, z_loss_weight: 0.001, router: " + router).router_input == "normalised");
  for (std::string const router : {"position", "token"}) accepted("kind: mod, z_loss_weight: 0.001, causal: bce, router: " + router);
  CHECK(accepted("kind: mod, causal: threshold, threshold_training: true").threshold_training);
  accepted("kind: dense, router: norm, causal: bce");  // no router runs
}

TEST_CASE("a configuration made in code is held to the same rules") {
  Config config;
  config.depth.kind = "mod";
  CHECK_NOTHROW(check_config(config));
  config.depth.bce_detach = true;
  try {
    check_config(config);
    FAIL("accepted");
  } catch (ConfigError const& error) {
    CHECK(error.code() == ExitCode::config);
    REQUIRE(error.problems().size() == 1);
    CHECK(error.problems()[0].find("bce_detach") != std::string::npos);
  }
}
