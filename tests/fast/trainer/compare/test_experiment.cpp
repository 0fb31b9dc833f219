#include <sys/stat.h>

#include <catch2/catch_test_macros.hpp>
#include <chrono>
#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "core/error.h"
#include "core/process.h"
#include "core/stop.h"
#include "model/ledger/ledger.h"
#include "tests/fast/scratch.h"
#include "trainer/compare/arms.h"
#include "trainer/compare/experiment.h"

using namespace isobath;

namespace {

constexpr char const* experiment = R"(name: exp
data: {sources: [text.txt]}
tokenizer: {kind: byte}
model: {layers: 4, width: 64, context: 128}
train: {budget: 1e11flop, batch_tokens: 512}
compare:
  baseline: dense
  seeds: [1, 2]
  arms:
    dense: {}
    mod: {set: {depth: {kind: mod, capacity: 12.5%}}, match: {forward_flops_of: dense, adjust: layers}}
)";

// Stands in for the program: logs its start, does what `body` says. $2 is the run's config.yaml.
fs::path stand_in(Scratch const& scratch, std::string const& body) {
  fs::path const script = scratch.write("stand-in.sh", "#!/bin/sh\nRUN=$(dirname \"$2\")\necho start >> \"$RUN/starts\"\n" + body + "\n");
  chmod(script.c_str(), 0755);
  return script;
}

constexpr char const* finishes =
    "echo '{\"kind\":\"end\",\"status\":\"finished\",\"step\":5,\"train_flops_total\":\"18446744073709551616\",\"time_s\":1.0}' >> "
    "\"$RUN/metrics.jsonl\"";

LoadedConfig load(Scratch const& scratch, std::string const& text = experiment) {
  return load_config(scratch.write("exp.yaml", text), {"run_dir=" + (scratch / "runs").string()});
}

std::vector<ExperimentRun> runs_of(Scratch const& scratch, std::string const& text = experiment) {
  return resolve_runs(load(scratch, text), [](Config const&) { return int64_t{257}; });
}

int starts(ExperimentRun const& run) {
  fs::path const file = run.folder / "starts";
  if (!fs::exists(file)) return 0;
  std::string const text = read_file(file);
  return static_cast<int>(std::count(text.begin(), text.end(), '\n'));
}

bool mentions(std::string const& text, std::string const& part) { return text.find(part) != std::string::npos; }

std::string replaced(std::string text, std::string const& from, std::string const& to) {
  return text.replace(text.find(from), from.size(), to);
}

struct NoStop {
  ~NoStop() { request_stop(0); }
};

}  // namespace

TEST_CASE("experiment: a reference arm is trained on the tokens of another, whatever they cost") {
  Scratch const scratch;
  std::string const with_bound = std::string(experiment) + "    deep: {set: {model.layers: 8}, reference: true, match: {tokens_of: mod}}\n";
  std::vector<ExperimentRun> const runs = runs_of(scratch, with_bound);
  REQUIRE(runs.size() == 6);
  auto const plan = [&](ExperimentRun const& run) { return plan_arm(run.arm, run.config, 257, DataSize{1e6, 1e4, true, "", {}}, 512); };
  ArmPlan const mod = plan(runs[1]), deep = plan(runs[2]);
  CHECK(runs[2].config.train.budget.unit == Unit::token);
  CHECK(deep.tokens == mod.tokens);
  CHECK(deep.train_flops > mod.train_flops);
  CHECK(deep.config.model.layers == 8);
}

TEST_CASE("experiment: seeds outer, arms inner, each in its folder, matched") {
  Scratch const scratch;
  auto const runs = runs_of(scratch);
  REQUIRE(runs.size() == 4);
  CHECK(runs[0].label() == "dense/seed-1");
  CHECK(runs[1].label() == "mod/seed-1");
  CHECK(runs[2].label() == "dense/seed-2");
  CHECK(runs[1].folder == scratch.path() / "runs" / "exp" / "mod" / "seed-1");
  CHECK(runs[2].config.seed == 2);
  CHECK(runs[1].config.compare.arms.empty());
  auto const cost = [](Config const& c) { return static_cast<double>(planned_forward_flops(c.model, c.depth, 257, 1, c.model.context)); };
  CHECK(std::abs(cost(runs[1].config) / cost(runs[0].config) - 1) <= 0.005);
  CHECK(runs[1].config.model.layers > runs[0].config.model.layers);
}

TEST_CASE("experiment: what cannot be compared is refused") {
  Scratch const scratch;
  CHECK_THROWS_AS(runs_of(scratch, "name: alone\n"), Error);
  CHECK_THROWS_AS(runs_of(scratch, replaced(experiment, "train:", "eval: {routing: topk}\ntrain:")), Error);
}

TEST_CASE("experiment: every run runs once, and its process is on record") {
  Scratch const scratch;
  auto const runs = runs_of(scratch);
  ExperimentSettings settings;
  settings.executable = stand_in(scratch, finishes);
  settings.jobs = 2;
  CHECK(run_experiment(runs, settings).empty());
  for (ExperimentRun const& run : runs) {
    CHECK(is_finished(run));
    CHECK(starts(run) == 1);
    CHECK(nlohmann::json::parse(read_file(run.folder / "process.json"))["peak_memory_bytes"].get<int64_t>() > 0);
    CHECK(to_yaml(load_config(run.folder / "config.yaml", {}).config) == to_yaml(with_absolute_paths(run.config)));
  }
  CHECK(run_experiment(runs, settings).empty());
  for (ExperimentRun const& run : runs) CHECK(starts(run) == 1);  // not repeated
}

TEST_CASE("experiment: a program whose file is replaced meanwhile goes on as it was") {
  Scratch const scratch;
  auto const runs = runs_of(scratch);
  fs::path const other = scratch.write("other.sh", "#!/bin/sh\necho another program\nexit 1\n");
  chmod(other.c_str(), 0755);
  std::string const replaces = "mv '" + other.string() + "' '" + (scratch / "stand-in.sh").string() + "' 2> /dev/null\n";
  ExperimentSettings settings;
  settings.executable = stand_in(scratch, replaces + finishes);
  CHECK(run_experiment(runs, settings).empty());
  CHECK_FALSE(fs::exists(other));  // it was replaced
  for (ExperimentRun const& run : runs) CHECK(is_finished(run));
}

TEST_CASE("experiment: a program that cannot be opened is named") {
  Scratch const scratch;
  ExperimentSettings settings;
  settings.executable = "/nowhere/program";
  try {
    run_experiment(runs_of(scratch), settings);
    FAIL("started");
  } catch (Error const& error) {
    CHECK(mentions(error.what(), "/nowhere/program"));
  }
}

TEST_CASE("experiment: one failure stops nobody, is shown, and is tried again") {
  Scratch const scratch;
  auto const runs = runs_of(scratch);
  ExperimentSettings settings;
  std::string const fails = "case \"$RUN\" in *mod/seed-1) echo 'isobath: training diverged'; exit 5;; esac\n";
  settings.executable = stand_in(scratch, fails + finishes);
  auto const failed = run_experiment(runs, settings);
  REQUIRE(failed.size() == 1);
  CHECK(failed[0].label == "mod/seed-1");
  CHECK(failed[0].exit_code == 5);
  CHECK(mentions(failed[0].last_lines, "training diverged"));
  CHECK_FALSE(is_finished(runs[1]));
  CHECK(is_finished(runs[3]));
  settings.executable = stand_in(scratch, finishes);
  CHECK(run_experiment(runs, settings).empty());
  CHECK(starts(runs[0]) == 1);
  CHECK(starts(runs[1]) == 2);
}

TEST_CASE("experiment: a process that ends well without finishing its run has failed") {
  Scratch const scratch;
  auto const runs = runs_of(scratch);
  ExperimentSettings settings;
  settings.executable = stand_in(scratch, "exit 0");
  CHECK(run_experiment(runs, settings).size() == runs.size());
}

TEST_CASE("experiment: a larger budget trains on, another model is refused") {
  Scratch const scratch;
  ExperimentSettings settings;
  settings.executable = stand_in(scratch, finishes);
  run_experiment(runs_of(scratch), settings);

  auto const longer = runs_of(scratch, replaced(experiment, "1e11flop", "2e11flop"));
  CHECK_FALSE(is_finished(longer[0]));
  settings.executable = stand_in(scratch, "exit 1");  // dies before it has done anything: the old end still stands in its metrics
  CHECK(run_experiment(longer, settings).size() == longer.size());
  CHECK_FALSE(is_finished(longer[0]));
  settings.executable = stand_in(scratch, finishes);
  CHECK(run_experiment(longer, settings).empty());
  CHECK(is_finished(longer[0]));

  auto const wider = runs_of(scratch, replaced(replaced(experiment, "width: 64", "width: 128"), "1e11flop", "2e11flop"));
  try {
    run_experiment(wider, settings);
    FAIL("accepted");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::config);
    CHECK(mentions(error.what(), "model.width"));
  }
}

TEST_CASE("experiment: a stop reaches the children, which save, and nothing new starts") {
  Scratch const scratch;
  NoStop const reset;
  auto const runs = runs_of(scratch);
  ExperimentSettings settings;
  settings.executable = stand_in(scratch,
                                 "trap 'sleep 0.3; echo saved > \"$RUN/saved\"; exit 143' TERM\ntouch "
                                 "\"$RUN/ready\"\nwhile :; do sleep 0.05; done");
  std::jthread const stop([&] {
    for (int i = 0; i < 200 && !fs::exists(runs[0].folder / "ready"); ++i) std::this_thread::sleep_for(std::chrono::milliseconds(50));
    request_stop(SIGTERM);
  });
  try {
    run_experiment(runs, settings);
    FAIL("went on");
  } catch (Error const& error) {
    CHECK(error.code() == stopped_by(SIGTERM));
    CHECK(mentions(error.what(), "0 of 4 runs finished"));
  }
  CHECK(fs::exists(runs[0].folder / "saved"));
  CHECK(starts(runs[1]) == 0);
}

TEST_CASE("experiment: a child's exit is told as a shell would") {
  Scratch const scratch;
  AppendFile const log(scratch / "log");
  ChildProcess killed({"/bin/sh", "-c", "echo out; echo bad >&2; kill -9 $$"}, {-1, log.descriptor(), -1});
  killed.wait();
  CHECK(read_file(scratch / "log") == "out\n");
  CHECK(killed.exit_code() == 137);
  ChildProcess missing({"/nowhere/program"}, {});
  missing.wait();
  CHECK(missing.exit_code() == 127);
  CHECK(last_lines(scratch.write("many", "a\n\nb\nc\n \n"), 2) == "b\nc");
}

TEST_CASE("experiment: a plan's parts add up, and equal budgets buy equal compute") {
  Scratch const scratch;
  DataSize const data{1e6, 2e4, true, "test"};
  std::vector<ArmPlan> plans;
  for (ExperimentRun const& run : runs_of(scratch)) plans.push_back(plan_arm(run.arm, run.config, 257, data, 512));
  for (ArmPlan const& plan : plans) {
    Config const& c = plan.config;
    auto const whole = static_cast<double>(planned_forward_flops(c.model, c.depth, 257, 1, 128)) / 128;
    CHECK(std::abs(plan.forward() / whole - 1) < 1e-12);
    CHECK(plan.tokens == plan.steps * 512);
    CHECK(std::abs(static_cast<double>(plan.train_flops) / 1e11 - 1) < 0.5 / static_cast<double>(plan.steps) + 1e-9);
    CHECK(plan.memory.state == 16.0 * static_cast<double>(plan.parameters.total));
  }
  std::string const table = plan_table(plans, data);
  CHECK(mentions(table, "fewer than 500"));
  CHECK(plan_json(plans, data)["arms"].size() == plans.size());
}

TEST_CASE("experiment: a plan warns of epochs and of evaluation that eats the budget") {
  Config config;
  config.train.budget = {1000, Unit::step};
  auto const warnings = [&](double train_tokens, int64_t final_tokens) {
    config.eval.final_tokens = final_tokens;
    std::string all;
    for (std::string const& w : plan_arm("a", config, 257, {train_tokens, 1e6, true, ""}, 1024).warnings) all += w + "\n";
    return all;
  };
  CHECK(warnings(2e6, 1024).empty());
  CHECK(mentions(warnings(5e5, 1024), "2.0 epochs"));
  CHECK(mentions(warnings(2e6, 0), "evaluation takes"));  // all of a million validation tokens
}

TEST_CASE("experiment: a plan of examples counts their windows, and says how much of them is padding") {
  Config config;
  config.model.context = 16;
  config.train.batch_tokens = 32;
  config.train.budget = {3, Unit::epoch};
  DataSize data{70, 10, true, "7 examples"};
  data.pack = [](int64_t context) { return DataSize::Packing{context == 16 ? 6 : 3, 0.25, 4}; };
  ArmPlan const plan = plan_arm("a", config, 257, data, 32);
  CHECK(plan.steps == 9);
  CHECK(plan.epochs == 3);
  CHECK(mentions(plan_table({plan}, data), "25.0 %"));
  CHECK(mentions(plan_table({plan}, data), "warning: a: 4 examples are longer than model.context (16)"));
  CHECK(plan_json({plan}, data)["arms"][0]["padding"] == 0.25);
  for (std::string const& warning : plan.warnings) CHECK_FALSE(mentions(warning, "epochs"));
}

TEST_CASE("experiment: evaluation is work, too, and work is done only when all of it is recorded") {
  Config config;
  config.train.budget = {1000, Unit::step};
  config.eval.every = {250, Unit::step};
  config.eval.tokens = 1 << 16;
  config.eval.final_tokens = 1 << 20;
  ArmPlan const plan = plan_arm("a", config, 257, {2e6, 2e6, true, ""}, 1024);
  auto const training = static_cast<double>(plan.train_flops);
  CHECK(plan.evaluation.points == 4);
  CHECK(plan.evaluation.result_flops == 16 * plan.evaluation.point_flops);  // a dense model is not calibrated
  CHECK(std::abs(plan.evaluation_share() - plan.evaluation.flops() / training) < 1e-12);
  RunStatus run;
  CHECK(plan.work_done(run) == 0);
  run.train_flops = training;
  run.curve_points = 3;
  CHECK(plan.work_done(run) == training + 3 * plan.evaluation.point_flops);
  CHECK(percent_done(plan.work() - plan.work_done(run), plan.work()) < 90);  // both validations of the last step are missing
  run.curve_points = 4;
  run.results = 1;
  CHECK(std::abs(plan.work_done(run) / plan.work() - 1) < 1e-12);
  run.train_flops *= 2;  // of a longer run than this one
  run.curve_points = 9;
  CHECK(std::abs(plan.work_done(run) / plan.work() - 1) < 1e-12);
}

TEST_CASE("experiment: 100 % is not said while a run is running") {
  CHECK(percent_done(0, 1000) == 99);
  CHECK(percent_done(1, 1000) == 99);
  CHECK(percent_done(999.9, 1000) == 0);
  CHECK(percent_done(1000, 1000) == 0);
}

TEST_CASE("experiment: a report may be refreshed while runs are running") {
  Scratch const scratch;
  auto const runs = runs_of(scratch);
  ExperimentSettings settings;
  settings.executable = stand_in(scratch, "sleep 0.3\n" + std::string(finishes));
  int calls = 0, while_running = 0;
  settings.refresh = [&] {
    ++calls;
    while_running += fs::exists(unfinished_marker(runs[0])) ? 1 : 0;
  };
  run_experiment({runs[0]}, settings);
  CHECK(while_running >= 1);
  CHECK(calls > while_running);  // once more after the run has ended
}
