// What `plan` says of a comparison before it runs.
#include <catch2/catch_test_macros.hpp>

#include "tests/fast/config_folder.h"
#include "tests/fast/report_runs.h"
#include "trainer/compare/foresight.h"

using namespace isobath;

namespace {

ArmPlan arm(char const* name, int64_t layers, char const* kind) {
  Config config;
  config.model.layers = layers;
  config.depth.kind = kind;
  return plan_arm(name, config, 512, DataSize{1e6, 1e4, true, "", {}}, 1024);
}

}  // namespace

TEST_CASE("foresight: a dense arm is proposed where a routed one is cheaper or costlier than all of them") {
  std::vector<std::string> const cheap = missing_dense_arms({arm("d4", 4, "dense"), arm("d6", 6, "dense"), arm("mod", 4, "mod")});
  REQUIRE(cheap.size() == 1);
  CHECK(cheap[0].starts_with("no dense arm is as cheap as mod ("));
  CHECK(cheap[0].ends_with(": add one, such as d4 with model.layers: 2"));  // half of the blocks see 12.5 % of the tokens: 2.25 layers
  std::vector<std::string> const costly = missing_dense_arms({arm("d2", 2, "dense"), arm("d3", 3, "dense"), arm("mod", 8, "mod")});
  REQUIRE(costly.size() == 1);
  CHECK(costly[0].ends_with(": add one, such as d3 with model.layers: 5"));  // 4.5 layers
  CHECK(missing_dense_arms({arm("d2", 2, "dense"), arm("d3", 3, "dense"), arm("d4", 4, "dense"), arm("mod", 4, "mod")}).empty());
  CHECK(missing_dense_arms({arm("d2", 2, "dense"), arm("d4", 4, "dense"), arm("mod", 4, "mod")}).at(0).ends_with("would make it one"));
  CHECK(missing_dense_arms({arm("d2", 2, "dense")}).empty());
}

TEST_CASE("foresight: what the seeds can show, by the scatter of finished runs") {
  Folder const root;
  Config experiment;
  experiment.run_dir = root.path.parent_path().string();
  experiment.name = root.path.filename().string();
  experiment.compare.seeds = {1};
  CHECK(contains(what_seeds_can_show(experiment), "one seed gives no interval"));
  experiment.compare.seeds = {1, 2, 3};
  CHECK(contains(what_seeds_can_show(experiment), "with 3 a difference is found with a chance of 80 % where it is 3.3 times the scatter"));
  write_experiment(root.path, {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) {
    write_run(root.path, "dense", seed, {.loss = 3});
    write_run(root.path, "mod", seed, {.loss = seed == 1 ? 3.003 : 2.997, .routed = true});  // +0.1 % and -0.1 %: a scatter of 0.14 %
  }
  std::string const known = what_seeds_can_show(experiment);
  CHECK(contains(known, "scatter by 0.14 %"));
  CHECK(contains(known, "with 3 seeds a difference of 0.46 % is found with a chance of 80 %"));
  CHECK(contains(known, "equal within 0.5 % with a chance of 9"));
}

TEST_CASE("foresight: the scatter of another experiment on the same text, before the first run") {
  Folder const root;
  Config experiment;
  experiment.run_dir = root.path.string();
  experiment.name = "next";
  experiment.compare.seeds = {1, 2, 3};
  write_experiment(root.path / "earlier", {"dense", "mod"}, {1, 2}, "dense");
  for (int64_t seed : {1, 2}) {
    write_run(root.path / "earlier", "dense", seed, {.loss = 3});
    write_run(root.path / "earlier", "mod", seed, {.loss = seed == 1 ? 3.003 : 2.997, .routed = true});
  }
  CHECK(contains(what_seeds_can_show(experiment), "the differences of earlier experiments on this text scatter by 0.14 %"));
  experiment.model.width *= 2;
  CHECK(contains(what_seeds_can_show(experiment), "times the scatter of the seeds' differences, which finished runs will tell"));
}

TEST_CASE("foresight: what routing saves at several lengths of the input") {
  auto const at = [](char const* name, char const* kind, int64_t context) {
    ArmPlan plan = arm(name, 4, kind);
    Config config = plan.config;
    config.model.context = context;
    return plan_arm(name, config, 512, DataSize{1e6, 1e4, true, "", {}}, 1024);
  };
  std::vector<ArmPlan> const arms{at("dense/short", "dense", 64), at("dense/long", "dense", 1024), at("mod/short", "mod", 64),
                                  at("mod/long", "mod", 1024)};
  std::vector<std::string> const notes = costs_by_length(arms, "dense");
  REQUIRE(notes.size() == 2);
  // Half of the blocks see 12.5 % of the tokens: their attention, which grows with the length, falls to 1/64.
  CHECK(notes[0].starts_with("with a context of 64, mod/short takes 0."));
  CHECK(notes[1].ends_with(" of the forward FLOPs of dense/long and 0.56 of its keys and values"));
  CHECK(arms[3].forward() / arms[1].forward() < arms[2].forward() / arms[0].forward());
  CHECK(costs_by_length({arms[0], arms[2]}, "dense").empty());
}
