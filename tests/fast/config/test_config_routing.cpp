// Which keys of the `depth` section can be combined.

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
  for (std::string const router : {"cosine", "position", "token", "norm"})
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
  CHECK(accepted("kind: mod").router_input == RouterInputForm::raw);
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
    CHECK(accepted("kind: mod, causal: none, router: " + router).causal == Causal::none);
  }
  for (std::string const router : {"linear", "mlp"})
    CHECK(accepted("kind: mod, router_input: normalised, z_loss_weight: 0.001, router: " + router).router_input ==
          RouterInputForm::normalised);
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

TEST_CASE("capacities that cannot stand together, and how they may be written") {
  refused("capacity: [50%, 25%, 10%]", {"3", "2"});  // of 4 layers, 2 are routed
  refused("capacity_warmup: 10%, capacity: 1.0", {"warm"});
  refused("capacity_random: [10%]", {"two"});
  refused("capacity_random: [50%, 10%]", {"lower"});
  refused("capacity_random: [10%, 20%, 30%]", {"two"});
  refused("capacity_random: [10%, 20%], capacity: [50%, 25%]", {"capacity_random", "capacity"});
  refused("capacity_warmup: 10%, causal: threshold, threshold_training: true", {"capacity_warmup", "threshold_training"});
  refused("capacity_random: [10%, 20%], causal: threshold, threshold_training: true", {"capacity_random", "threshold_training"});
  refused("capacity: [50%, 0]", {"'0'"});
  refused("capacity: [50%, 101%]", {"'101%'"});
  refused("capacity: []", {"empty"});
  CHECK(accepted("kind: mod, capacity: [50%, 0.25]").capacity == std::vector{0.5, 0.25});
  CHECK(accepted("kind: mod, capacity: 25%").capacity == std::vector{0.25});
  CHECK(accepted("kind: mod, capacity_random: [6.25%, 50%]").capacity_random == std::vector{0.0625, 0.5});
  CHECK(accepted("kind: mod, capacity_random: off").capacity_random.empty());
  CHECK(accepted("kind: mod, capacity_warmup: 10%, capacity_random: [10%, 20%]").capacity_warmup == 0.1);
}

TEST_CASE("lists of shares read back as they were written") {
  ConfigFolder const folder;
  for (std::string const capacity : {"0.125", "[0.5, 0.25]"}) {
    Config const config = folder.load("depth: {kind: mod, capacity: " + capacity + ", capacity_random: off}\n").config;
    CHECK(to_yaml(config).find("capacity: " + capacity + "\n") != std::string::npos);
    CHECK(to_yaml(config).find("capacity_random: off\n") != std::string::npos);
    CHECK(diff_configs(config, folder.load(to_yaml(config)).config).empty());
  }
}
