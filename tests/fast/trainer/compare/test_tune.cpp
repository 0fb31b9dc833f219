// Which settings are tried, which one is chosen, what happens at the edge of a grid, and that a choice stays.
#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <fstream>
#include <nlohmann/json.hpp>
#include <set>

#include "core/error.h"
#include "tests/fast/scratch.h"
#include "trainer/compare/tune.h"

using namespace isobath;

namespace {

constexpr char const* tuned = R"(name: exp
data: {sources: [text.txt]}
tokenizer: {kind: byte}
model: {layers: 4, width: 64, context: 128}
train: {budget: 1e11flop, batch_tokens: 512}
compare:
  baseline: dense
  seeds: [1]
  tune: {keys: {train.lr: [1e-3, 2e-3, 4e-3]}, seeds: [101, 102], as: {deep: dense}}
  arms:
    dense: {size: {small: {model.layers: 2}, large: {model.layers: 4}}}
    mod: {set: {depth.kind: mod}}
    deep: {}
)";

int64_t bytes(Config const&) { return 257; }

// Writes what runs leave; the loss is a function of the run. Counts the runs that had not finished.
struct InventedTraining {
  std::function<double(ExperimentRun const&)> loss;  // NaN: it diverges
  int runs = 0;

  void operator()(std::vector<ExperimentRun> const& trials) {
    for (ExperimentRun const& run : trials) {
      if (is_finished(run) || has_diverged(run)) continue;
      ++runs;
      fs::create_directories(run.folder);
      write_file_atomic(run.folder / "config.yaml", to_yaml(run.config));
      double const value = loss(run);
      std::ofstream(run.folder / "metrics.jsonl")
          << nlohmann::json{{"kind", "validation"}, {"final", true}, {"step", 5}, {"loss_topk", value}, {"loss_causal", value}} << "\n"
          << nlohmann::json{{"kind", "end"},
                            {"status", std::isnan(value) ? "diverged" : "finished"},
                            {"step", 5},
                            {"train_flops_total", 1000}}
          << "\n";
    }
  }
};

LoadedConfig load_tuned(Scratch const& scratch, std::vector<std::string> overrides = {}) {
  overrides.push_back("run_dir=" + (scratch / "runs").string());
  return load_config(scratch.write("exp.yaml", tuned), overrides);
}

// A loss with its minimum at `best`.
auto around(double best) {
  return [best](ExperimentRun const& run) {
    double const off = std::log2(run.config.train.lr / best);
    return 3 + off * off + 0.001 * static_cast<double>(run.seed - 101);
  };
}

std::string refusal(std::function<void()> const& call) {
  try {
    call();
  } catch (Error const& error) {
    return error.what();
  }
  return "";
}

std::vector<std::string> names(std::vector<Trial> const& trials) {
  std::vector<std::string> all;
  for (Trial const& trial : trials) all.push_back(trial.name);
  return all;
}

}  // namespace

TEST_CASE("tune: the grid in order, or as many of it as asked for, always the same ones") {
  Scratch const scratch;
  std::string const keys = "compare.tune.keys={train.lr: [1e-3, 2e-3], train.betas: [[0.9, 0.95], [0.9, 0.99]], train.warmup: [5%, 10%]}";
  Config const all = load_tuned(scratch, {keys}).config;
  auto const grid = first_trials(all);
  REQUIRE(grid.size() == 8);
  CHECK(grid[0].name == "lr-1e-3_betas-0.9_0.95_warmup-5%");
  CHECK(grid[1].name == "lr-1e-3_betas-0.9_0.95_warmup-10%");
  CHECK(grid[7].name == "lr-2e-3_betas-0.9_0.99_warmup-10%");
  auto const some = [&](std::string const& seed) {
    return names(first_trials(load_tuned(scratch, {keys, "compare.tune.trials=3", "seed=" + seed}).config));
  };
  CHECK(some("1").size() == 3);
  CHECK(some("1") == some("1"));
  std::set<std::string> const whole = [&] {
    auto const n = names(grid);
    return std::set<std::string>(n.begin(), n.end());
  }();
  std::set<std::vector<std::string>> draws;
  for (int seed = 1; seed <= 9; ++seed) {
    draws.insert(some(std::to_string(seed)));
    for (std::string const& name : some(std::to_string(seed))) CHECK(whole.contains(name));
  }
  CHECK(draws.size() > 3);
  CHECK(refusal([&] { first_trials(load_tuned(scratch, {"compare.tune.trials=4"}).config); }).find("has 3 combinations") !=
        std::string::npos);
}

TEST_CASE("tune: every arm runs the same trials, at a share of the budget, in its first size, on seeds of their own") {
  Scratch const scratch;
  LoadedConfig const base = load_tuned(scratch, {"compare.budgets=[2e11flop, 1e11flop]", "compare.tune.share=20%"});
  auto const runs = trial_runs(base, first_trials(base.config), bytes);
  REQUIRE(runs.size() == 2 * 2 * 3);
  CHECK(runs[0].folder == scratch.path() / "runs/exp/tune/dense/lr-1e-3/seed-101");
  CHECK(runs[0].label() == "tune/dense/lr-1e-3/seed-101");
  CHECK(runs[1].label() == "tune/mod/lr-1e-3/seed-101");
  CHECK(runs[0].config.model.layers == 2);
  CHECK(std::abs(runs[0].config.train.budget.amount / 2e10 - 1) < 1e-12);
  CHECK(runs[2].config.train.lr == 2e-3);
  CHECK(runs[1].config.depth.kind == "mod");
}

TEST_CASE("tune: the lowest mean loss is chosen, kept, and taken by the arm that is named") {
  Scratch const scratch;
  LoadedConfig const base = load_tuned(scratch);
  InventedTraining training{[](ExperimentRun const& run) { return around(run.arm == "mod" ? 4e-3 : 2e-3)(run); }};
  Tuning const tuning = tune(base, bytes, std::ref(training));
  CHECK(training.runs == 12);
  CHECK(tuning.choice("dense")->name == "lr-2e-3");
  CHECK(tuning.choice("deep")->name == "lr-2e-3");
  CHECK(tuning.choice("mod")->name == "lr-4e-3");
  CHECK(std::abs(tuning.choice("dense")->loss() - 3.0005) < 1e-9);
  CHECK(tuning.trials() == 12);
  CHECK(tuning.train_flops() == Int128(12000));
  REQUIRE(tuning.warnings().size() == 1);
  CHECK(tuning.warnings()[0].find("mod: the best train.lr, 4e-3, is the largest tried") == 0);
  auto const runs = resolve_runs(base, bytes, choices(base.config, tuning));
  CHECK(runs[0].config.train.lr == 2e-3);
  CHECK(runs[2].config.train.lr == 4e-3);
  CHECK(runs[3].config.train.lr == 2e-3);

  // A choice is not made again, even if the trials are gone.
  fs::remove_all(scratch / "runs/exp/tune");
  CHECK(tune(base, bytes, std::ref(training)).choice("mod")->name == "lr-4e-3");
  CHECK(training.runs == 12);
  // What else is asked for is refused, with the reason.
  std::string const reason =
      refusal([&] { tune(load_tuned(scratch, {"compare.tune.keys.train.lr=[1e-3, 2e-3]"}), bytes, std::ref(training)); });
  CHECK(reason.find("compare.tune.keys.train.lr: [1e-3, 2e-3, 4e-3] there, [1e-3, 2e-3] now") != std::string::npos);
  CHECK(refusal([&] { tune(load_tuned(scratch, {"compare.tune.share=20%"}), bytes, std::ref(training)); }).find("a trial's budget") !=
        std::string::npos);
}

TEST_CASE("tune: with extend one value more is tried in every arm, until the best is inside") {
  Scratch const scratch;
  LoadedConfig const base = load_tuned(scratch, {"compare.tune.extend=true"});
  InventedTraining training{[](ExperimentRun const& run) { return around(run.arm == "mod" ? 8e-3 : 2e-3)(run); }};
  Tuning const tuning = tune(base, bytes, std::ref(training));
  CHECK(tuning.choice("mod")->name == "lr-8e-3");
  CHECK(tuning.warnings().empty());
  for (TunedArm const& arm : tuning.arms) {
    CHECK(arm.trials.size() == 5);  // 8e-3, and 1.6e-2 that shows it is the best
    CHECK(arm.trials.back().name == "lr-1.6e-2");
  }
}

TEST_CASE("tune: extension ends after three values") {
  Scratch const scratch;
  InventedTraining training{around(1)};
  Tuning const tuning = tune(load_tuned(scratch, {"compare.tune.extend=true"}), bytes, std::ref(training));
  CHECK(tuning.arms[0].trials.size() == 6);
  CHECK(tuning.choice("dense")->name == "lr-3.2e-2");
  CHECK(tuning.warnings().size() == 2);
}

TEST_CASE("tune: grids go on by their last ratio, within what the key takes") {
  auto const beyond = [](std::string const& key, std::vector<std::string> const& values, bool largest) {
    std::vector<Trial> tried;
    for (std::string const& value : values) tried.push_back({value, {{key, value}}});
    auto const found = trials_beyond(tried, {key, largest ? values.back() : values.front(), largest});
    return found.empty() ? std::string("none") : found.front().settings.front().second;
  };
  CHECK(beyond("train.lr", {"1e-3", "3e-3"}, true) == "9e-3");
  CHECK(beyond("train.lr", {"1e-3", "3e-3"}, false) == "3.33e-4");
  CHECK(beyond("train.lr", {"0.25", "0.5"}, true) == "1");
  CHECK(beyond("train.lr", {"1e-4", "1e-3"}, true) == "1e-2");
  CHECK(beyond("train.warmup", {"5%", "10%"}, true) == "20%");
  CHECK(beyond("train.min_lr", {"30%", "90%"}, true) == "none");
  CHECK(beyond("train.weight_decay", {"0", "0.1"}, true) == "none");
  CHECK(beyond("train.batch_tokens", {"512", "1Ki"}, true) == "2048");
  CHECK(beyond("train.schedule", {"cosine", "wsd"}, true) == "none");
  // Only the key whose best value lies at the edge gets a further value, combined with every value of the other key that was tried at that
  // edge.
  std::vector<Trial> tried;
  for (char const* lr : {"1e-3", "2e-3"})
    for (char const* decay : {"0.1", "0.2", "0.4"}) tried.push_back({"", {{"train.lr", lr}, {"train.weight_decay", decay}}});
  auto const edges = edges_of(tried, tried[4]);
  REQUIRE(edges.size() == 1);
  CHECK(edges[0].key == "train.lr");
  CHECK(edges[0].is_largest);
  auto const more = trials_beyond(tried, edges[0]);
  REQUIRE(more.size() == 3);
  CHECK(more[2].name == "lr-4e-3_weight_decay-0.4");
}

TEST_CASE("tune: a trial that diverged is the worst, one that is missing stops the choice") {
  Scratch const scratch;
  LoadedConfig const base = load_tuned(scratch);
  InventedTraining training{[](ExperimentRun const& run) {
    return run.config.train.lr == 4e-3 && run.seed == 102 ? std::numeric_limits<double>::quiet_NaN() : around(4e-3)(run);
  }};
  CHECK(refusal([&] {
          tune(base, bytes, [&](std::vector<ExperimentRun> const& runs) { training({runs.begin(), runs.begin() + 5}); });
        }).find("has not finished: no setting can be chosen") != std::string::npos);
  Tuning const tuning = tune(base, bytes, std::ref(training));
  CHECK(tuning.choice("dense")->name == "lr-2e-3");
  Tuning const again = read_tuning(scratch / "runs/exp/tune.json");
  CHECK(std::isinf(again.arms[0].trials[2].loss()));
  CHECK(tuning_json(again) == tuning_json(tuning));
  fs::remove(scratch / "runs/exp/tune.json");
  tune(base, bytes, std::ref(training));
  CHECK(training.runs == 12);  // diverged trials are not repeated either
}
