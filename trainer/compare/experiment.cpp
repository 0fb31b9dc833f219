// Which runs an experiment has, and which of them are done.
#include "trainer/compare/experiment.h"

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/limits.h"
#include "data/prepare.h"
#include "model/depth/plan.h"
#include "model/ledger/ledger.h"
#include "model/ledger/match.h"
#include "trainer/report/run_progress.h"
#include "trainer/schedule/schedule.h"

namespace isobath {
namespace {

ArmConfig const& find_arm(Config const& experiment, std::string const& name, std::string const& wanted_by) {
  for (ArmConfig const& arm : experiment.compare.arms)
    if (arm.name == name) return arm;
  std::string known;
  for (ArmConfig const& arm : experiment.compare.arms) known += (known.empty() ? "" : ", ") + arm.name;
  throw Error(ExitCode::config, wanted_by + " names arm '" + name + "', which does not exist (arms: " + known + ")");
}

Config resolve(LoadedConfig const& base, RunId const& run, VocabSize const& vocab_size, Choices const& chosen,
               std::vector<std::string> path) {
  ArmConfig const& arm = find_arm(base.config, run.arm, path.empty() ? "compare" : "match of arm '" + path.back() + "'");
  if (std::find(path.begin(), path.end(), run.arm) != path.end())
    throw Error(ExitCode::config,
                "compare.arms: '" + run.arm + "' is matched to itself" + (path.size() > 1 ? ", by way of '" + path.back() + "'" : ""));
  path.push_back(run.arm);
  auto const choice = chosen.find(run.arm);
  Config config = arm_config(base, run, choice == chosen.end() ? std::vector<Assignment>() : choice->second).config;
  if (!arm.match.forward_flops_of.empty()) {
    ArmConfig const& other = find_arm(base.config, arm.match.forward_flops_of, "match of arm '" + run.arm + "'");
    RunId const target_run{other.name, run.seed, other.size(run.size) ? run.size : "", run.budget};
    Config const target = resolve(base, target_run, vocab_size, chosen, path);
    int64_t const flops = planned_forward_flops(target.model, target.depth, vocab_size(target), 1, target.model.context);
    config.model = match_forward_flops(config.model, config.depth, vocab_size(config), flops, arm.match);
    check_config(config);
  }
  // Of a budget in epochs the arms have the same tokens as it is.
  if (!arm.match.tokens_of.empty() && config.train.budget.unit != Unit::epoch) {
    ArmConfig const& other = find_arm(base.config, arm.match.tokens_of, "match of arm '" + run.arm + "'");
    Config const target = resolve(base, {other.name, run.seed, other.size(run.size) ? run.size : "", run.budget}, vocab_size, chosen, path);
    int64_t const sequences = std::max<int64_t>(1, target.train.batch_tokens / target.model.context);
    int64_t const steps = make_schedule(target, vocab_size(target), /*steps_per_epoch=*/1).total_steps();
    config.train.budget = {static_cast<double>(steps * sequences * target.model.context), Unit::token};
  }
  return config;
}

// Whether the run's checkpoint was trained on the text that its configuration names now, wherever that lay then.
bool has_same_text(ExperimentRun const& run) {
  fs::path const state = run.folder / "latest" / "state.json";
  if (!fs::exists(state)) return false;
  nlohmann::json const json = nlohmann::json::parse(read_file(state), nullptr, /*allow_exceptions=*/false);
  return json.is_object() && json.contains("data_key") && json["data_key"] == prepare_data(run.config).folder.filename().string();
}

// Differences that make the folder's run another one (schedule_too: also those that change its schedule).
std::vector<ConfigDifference> differences(ExperimentRun const& run, bool schedule_too) {
  std::vector<ConfigDifference> kept, content;
  for (ConfigDifference& difference : resume_differences(load_config(run.folder / "config.yaml", {}).config, run.config)) {
    if (difference.resume == ResumeClass::identity || (schedule_too && difference.resume == ResumeClass::schedule))
      kept.push_back(std::move(difference));
    else if (difference.resume == ResumeClass::content)
      content.push_back(std::move(difference));
  }
  if (!content.empty() && !has_same_text(run)) kept.insert(kept.end(), content.begin(), content.end());
  return kept;
}

}  // namespace

std::string placed_device(std::string const& device, int64_t ranks) { return ranks > 1 ? device.substr(0, device.find(':')) : device; }

Config resolve_config(LoadedConfig const& base, RunId const& run, VocabSize const& vocab_size, Choices const& chosen) {
  return resolve(base, run, vocab_size, chosen, {});
}

ExperimentRun resolve_run(LoadedConfig const& base, RunId const& id, VocabSize const& vocab_size, Choices const& chosen) {
  ExperimentRun run{id, resolve_config(base, id, vocab_size, chosen), {}};
  if (run.config.eval.routing == EvalRouting::topk && plan_depth(run.config.model, run.config.depth)->uses_noncausal_routing())
    throw Error(ExitCode::config,
                "eval.routing: topk cannot be compared: a verdict is about the loss under causal routing (allowed: "
                "causal, both)");
  CompareConfig const& compare = base.config.compare;
  int64_t const processes = compare.runs_at_a_time() * compare.ranks_per_run;
  if (processes > 1 && run.config.train.threads == 0) run.config.train.threads = usable_cores(processes).value;
  if (!compare.devices.empty()) run.config.device = placed_device(compare.devices.front(), compare.ranks_per_run);
  run.folder = run_folder(run.config);
  return run;
}

std::vector<ExperimentRun> resolve_runs(LoadedConfig const& base, VocabSize const& vocab_size, Choices const& chosen) {
  CompareConfig const& compare = base.config.compare;
  if (compare.arms.empty()) throw Error(ExitCode::config, "there is nothing to compare: the configuration has no compare.arms");
  if (!compare.baseline.empty()) find_arm(base.config, compare.baseline, "compare.baseline");
  std::vector<ExperimentRun> runs;
  for (RunId const& id : experiment_runs(compare)) runs.push_back(resolve_run(base, id, vocab_size, chosen));
  return runs;
}

fs::path run_folder(Config const& config) { return expand_user(config.run_dir) / config.name; }

bool same_text(Config const& a, Config const& b) {
  auto const differ = diff_configs(a, b);
  return std::none_of(differ.begin(), differ.end(),
                      [](ConfigDifference const& d) { return d.path.starts_with("data.") || d.path.starts_with("tokenizer."); });
}

void check_run_folder(ExperimentRun const& run) {
  if (!fs::exists(run.folder / "config.yaml") || !fs::exists(run.folder / "metrics.jsonl")) return;
  auto const changed = differences(run, false);
  if (changed.empty()) return;
  std::string list;
  for (ConfigDifference const& d : changed) list += "\n  " + d.path + ": " + d.before + " there, " + d.after + " now";
  throw Error(ExitCode::config, run.folder.string() + " holds another experiment's run:" + list +
                                    "\nGive this one another name (name=...), or remove the folder");
}

void check_schedule(ExperimentRun const& run, ArmPlan const& plan) {
  if (!fs::exists(run.folder / "config.yaml")) return;
  RunStatus const done = RunProgress(run.folder).update();
  if (done.step == 0) return;
  bool const in_flops = run.config.train.budget.unit == Unit::flop;
  double const planned = static_cast<double>(plan.train_flops), room = static_cast<double>(plan.step_flops);
  if (in_flops ? done.train_flops > planned + room : done.step > plan.steps)
    throw Error(ExitCode::config, "train.budget (" + format_duration(run.config.train.budget) + ") is less than what " +
                                      run.folder.string() + " has done, " + std::to_string(done.step) +
                                      " steps: give a larger one, or this experiment another name=");
  std::string changes;
  for (ConfigDifference const& change : differences(run, true))
    if (change.path != "train.budget") changes += "\n  " + change.path + ": " + change.before + " there, " + change.after + " now";
  bool const nothing_left = in_flops ? done.train_flops > planned - room / 2 : done.step == plan.steps;
  if (done.state == "finished" && nothing_left && !changes.empty())
    throw Error(ExitCode::config, run.folder.string() + " has finished under other settings:" + changes +
                                      "\nGive this experiment another name (name=...), or a larger train.budget");
}

fs::path unfinished_marker(ExperimentRun const& run) { return run.folder / "pending"; }

bool has_diverged(ExperimentRun const& run) {
  fs::path const config = run.folder / "config.yaml", metrics = run.folder / "metrics.jsonl";
  if (!fs::exists(config) || !fs::exists(metrics)) return false;
  if (fs::last_write_time(metrics) < fs::last_write_time(config)) return false;  // they are of an earlier run
  return RunProgress(run.folder).update().state == "diverged" && differences(run, true).empty();
}

bool is_finished(ExperimentRun const& run) {
  if (fs::exists(unfinished_marker(run)) || !fs::exists(run.folder / "config.yaml")) return false;
  return RunProgress(run.folder).update().state == "finished" && differences(run, true).empty();
}

}  // namespace isobath
