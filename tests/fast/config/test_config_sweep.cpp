// Budgets, sizes, devices and tuning: read, refused with their places, printed, and applied to a run.

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <set>

#include "config/fields.h"
#include "tests/fast/config_folder.h"

using namespace isobath;

namespace {

constexpr char const* sweep = R"(name: exp
train: {lr: 1e-3}
compare:
  baseline: dense
  seeds: [1, 2]
  budgets: [1e13flop, 3e12flop]
  devices: [cpu, cpu]
  tune:
    keys: {train: {lr: [1e-3, 2e-3]}, train.weight_decay: [0, 0.1]}
    trials: 3
    seeds: [101, 102]
    share: 5%
    extend: true
    as: {deep: dense}
  arms:
    dense: {size: {small: {model.layers: 2}, 1.5x: {model: {layers: 3, width: 96}}}}
    mod: {set: {depth.kind: mod, model.layers: 6}, match: {forward_flops_of: dense}, size: {small: {model.width: 32}}}
    deep: {}
)";

std::string only_problem(std::string const& compare) {
  ConfigFolder const folder;
  auto const found = folder.problems("compare:\n  seeds: [1]\n" + compare);
  for (std::string const& problem : found) UNSCOPED_INFO(problem);
  CHECK(found.size() == 1);
  return found.empty() ? "" : found.front().substr(0, found.front().find('\n'));
}

}  // namespace

TEST_CASE("a sweep and its tuning are read, and read back as they are printed") {
  ConfigFolder const folder;
  CompareConfig const compare = folder.load(sweep).config.compare;
  CHECK(compare.budgets == std::vector<Duration>{{1e13, Unit::flop}, {3e12, Unit::flop}});
  CHECK(compare.devices.size() == 2);
  CHECK(compare.arms[0].size("1.5x")->set.size() == 2);
  CHECK(compare.arms[0].size("large") == nullptr);
  REQUIRE(compare.tune.keys.size() == 2);
  CHECK(compare.tune.keys[0].path == "train.lr");
  CHECK(compare.tune.keys[0].values == std::vector<std::string>{"1e-3", "2e-3"});
  CHECK(compare.tune.share == 0.05);
  CHECK(compare.tune.choice_of.at("deep") == "dense");
  CHECK(compare.tune.tunes("mod"));
  CHECK_FALSE(compare.tune.tunes("deep"));
  Config const again = folder.load(to_yaml(folder.load(sweep).config)).config;
  CHECK(to_yaml(again) == to_yaml(folder.load(sweep).config));
  CHECK(diff_configs(folder.load(sweep).config, again).empty());
  CHECK(config_json_schema().find("\"1.5x\"") == std::string::npos);
}

TEST_CASE("overrides reach sizes and tuned keys") {
  ConfigFolder const folder;
  Config const config = folder
                            .load(sweep, {"compare.arms.dense.size.1.5x.model.layers=5", "compare.arms.deep.size.large={model.layers: 9}",
                                          "compare.tune.keys.train.lr=[1e-4, 2e-4, 3e-4]", "compare.budgets=none"})
                            .config;
  std::vector<Assignment> const& size = config.compare.arms[0].size("1.5x")->set;
  REQUIRE(size.size() == 2);
  CHECK(size.back().path == "model.layers");
  CHECK(size.back().value == "5");
  CHECK(config.compare.arms[2].sizes.size() == 1);
  CHECK(config.compare.budgets.empty());
  std::vector<TunedKey> const& keys = config.compare.tune.keys;
  REQUIRE(keys.size() == 2);
  CHECK(keys.back().values.size() == 3);
}

TEST_CASE("the runs of a sweep: seed by seed, budgets from the smallest, each in its folder") {
  ConfigFolder const folder;
  std::vector<std::string> paths;
  for (RunId const& run : experiment_runs(folder.load(sweep).config.compare)) paths.push_back(run.path());
  REQUIRE(paths.size() == 2 * 2 * 4);
  CHECK(paths[0] == "dense/3e12flop/small/seed-1");
  CHECK(paths[1] == "dense/3e12flop/1.5x/seed-1");
  CHECK(paths[2] == "mod/3e12flop/small/seed-1");
  CHECK(paths[3] == "deep/3e12flop/seed-1");
  CHECK(paths[4] == "dense/1e13flop/small/seed-1");
  CHECK(paths[8] == "dense/3e12flop/small/seed-2");
  CHECK(std::set<std::string>(paths.begin(), paths.end()).size() == paths.size());
}

TEST_CASE("a run sets what its arm, its size and tuning say, in this order, and its budget") {
  ConfigFolder const folder;
  LoadedConfig const loaded = folder.load(sweep);
  RunId const id{"mod", 2, "small", Duration{3e12, Unit::flop}};
  Config const config = arm_config(loaded, id, {{"train.lr", "4e-3", "here"}, {"model.width", "64", "here"}}).config;
  CHECK(config.name == "exp/mod/3e12flop/small/seed-2");
  CHECK(config.depth.kind == "mod");
  CHECK(config.model.layers == 6);
  CHECK(config.model.width == 64);
  CHECK(config.train.lr == 4e-3);
  CHECK(config.train.budget == Duration{3e12, Unit::flop});
  CHECK(config.seed == 2);
  CHECK(arm_config(loaded, {"mod", 1, "small"}).config.model.width == 32);
  CHECK_THROWS_AS(arm_config(loaded, {"mod", 1, "huge"}), ConfigError);
}

TEST_CASE("sweeps that make no sense") {
  CHECK(only_problem("  budgets: [1e12flop, 1e12flop]\n") == "x.yaml:3:12: error: budget 1e12flop stands twice in compare.budgets");
  CHECK(only_problem("  budgets: [1e12flop, 100step]\n").find("x.yaml:3:12: error: compare.budgets has 1e12flop and 100step") == 0);
  CHECK(only_problem("  budgets: []\n").find("x.yaml:3:12: error: compare.budgets: an empty list") == 0);
  CHECK(only_problem("  budgets: [1e12flop, 5%]\n").find("x.yaml:3:23: error: compare.budgets: '5%' is not a list of durations") == 0);
  CHECK(only_problem("  devices: [cpu, cuda:0]\n").find("x.yaml:3:12: error: compare.devices mixes cpu and cuda:0") == 0);
  CHECK(only_problem("  devices: [gpu]\n").find("x.yaml:3:12: error: device 'gpu' in compare.devices") == 0);
  CHECK(only_problem("  arms: {a: {size: {../b: {model.layers: 2}}}}\n").find("x.yaml:3:21: error: size '../b' of arm 'a': letters") == 0);
  CHECK(only_problem("  arms: {a: {size: {..: {model.layers: 2}}}}\n").find("x.yaml:3:21: error: size '..' of arm 'a': letters") == 0);
  CHECK(only_problem("  arms: {a: {size: {s: {}}}}\n").find("x.yaml:3:24: error: size 's' of arm 'a' sets no key") == 0);
  CHECK(only_problem("  arms: {a: {size: {s: {model.lairs: 2}}}}\n").find("x.yaml:3:25: error: unknown key 'model.lairs' (did you mean") ==
        0);
  CHECK(only_problem("  arms: {a: {size: {s: {seed: 2}}}}\n").find("x.yaml:3:25: error: an arm cannot set 'seed'") == 0);
  CHECK(only_problem("  arms: {a: {size: {s: {model.heads: 3}}}}\n").find("x.yaml:3:38: error: arm 'a', size 's': model.heads (3)") == 0);
  CHECK(only_problem("  arms: {a: {size: {s: {model.layers: 2}}}, b: {match: {forward_flops_of: a}, size: {t: {model.width: 32}}}}\n")
            .find("x.yaml:3:75: error: forward_flops_of 'a' has no size 't' (it has s)") == 0);
  CHECK(only_problem("  arms: {a: {size: {s: {model.layers: 2}}}, b: {match: {forward_flops_of: a}}}\n")
            .find("x.yaml:3:75: error: forward_flops_of 'a' has sizes (s) and 'b' has none") == 0);
}

TEST_CASE("tuning that makes no sense") {
  std::string const arms = "  arms: {a: {}, b: {set: {train.lr: 1e-3}}}\n";
  auto const tune = [&](std::string const& text, std::string const& with = "  arms: {a: {}, b: {}}\n") {
    return only_problem("  tune: {" + text + "}\n" + with);
  };
  CHECK(tune("keys: {train.lr: [1e-3]}").find("x.yaml:3:27: error: compare.tune.keys.train.lr: is a list of two values") == 0);
  CHECK(tune("keys: {train.lr: [1e-3, 0.001]}").find("x.yaml:3:34: error: compare.tune.keys.train.lr: 0.001 stands twice") == 0);
  CHECK(tune("keys: {train.lr: [1e-3, fast]}").find("x.yaml:3:34: error: compare.tune.keys.train.lr: 'fast' is not a number") == 0);
  CHECK(tune("keys: {train.rl: [1, 2]}").find("x.yaml:3:17: error: unknown key 'train.rl' (did you mean 'lr'?)") == 0);
  CHECK(tune("keys: {data.max_bytes: [1, 2]}").find("x.yaml:3:17: error: 'data.max_bytes' cannot be tuned") == 0);
  CHECK(tune("kyes: {}").find("x.yaml:3:10: error: unknown key 'compare.tune.kyes' (did you mean 'keys'?)") == 0);
  CHECK(tune("trials: 3").find("x.yaml:3:18: error: compare.tune has no keys to tune") == 0);
  std::string const keys = "keys: {train.lr: [1e-3, 2e-3]}, ";
  CHECK(tune(keys + "seeds: [1]").find("x.yaml:3:49: error: seed 1 of compare.tune.seeds is in compare.seeds, too") == 0);
  CHECK(tune(keys + "arms: [c]").find("x.yaml:3:48: error: compare.tune.arms: 'c' is none of the arms") == 0);
  CHECK(tune(keys + "as: {b: c}").find("x.yaml:3:50: error: compare.tune.as.b: 'c' is none of the arms") == 0);
  CHECK(tune(keys + "as: {b: b}").find("x.yaml:3:50: error: compare.tune.as.b: 'b' is not tuned itself") == 0);
  CHECK(tune(keys + "share: 0").find("x.yaml:3:49: error: compare.tune.share: '0' is too small") == 0);
  CHECK(tune(keys, arms).find("x.yaml:4:37: error: arm 'b' sets train.lr, which is tuned (compare.tune.keys.train.lr)") == 0);
  CHECK(tune(keys, "  arms: {a: {}, tune: {}}\n").find("x.yaml:4:17: error: an arm named 'tune' would share") == 0);
}
