#include "trainer/cli/bench_head.h"

#include <fmt/format.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "core/streams.h"
#include "core/units.h"
#include "model/depth/plan.h"
#include "model/ledger/ledger.h"
#include "trainer/run/machine.h"

namespace isobath {

namespace {

int64_t parameters_of(BenchArm const& arm, int64_t vocab_size) {
  return count_parameters(arm.config.model, arm.config.depth, vocab_size).total;
}

// "dense", "mod, 4 routed at 12.5 %"
std::string depth_of(BenchArm const& arm) {
  std::string const details = plan_depth(arm.config.model, arm.config.depth)->describe();
  return arm.config.depth.kind + (details.empty() ? "" : ", " + details);
}

}  // namespace

void print_bench_head(BenchSubject const& subject) {
  auto const line = [](std::string const& label, std::string const& text) { standard_output() << fmt::format("{:<10} {}\n", label, text); };
  for (BenchArm const& arm : subject.arms) {
    ModelConfig const& model = arm.config.model;
    line("model", fmt::format("{}: {} parameters; {} layers, width {}, context {}, vocabulary {}; {}", arm.name,
                              format_si(static_cast<double>(parameters_of(arm, subject.vocab_size))), model.layers, model.width,
                              model.context, subject.vocab_size, depth_of(arm)));
  }
  for (BenchSettings::Peer const& peer : subject.peers) line("peer", peer.name + ": " + peer.command);
  if (!subject.weights.empty()) line("weights", subject.weights);
  line("batch", subject.batch);
  auto const environment = environment_json(this_machine(ISOBATH_VERSION, subject.device));
  std::string const cpu = environment.at("cpu"), threads = std::to_string(environment.at("threads").get<int>());
  line("device", (subject.device.is_cpu() ? "" : environment.at("device").get<std::string>() + ", beside ") + cpu + ", " + threads +
                     (threads == "1" ? " thread" : " threads"));
  line("precision", subject.arms.front().config.precision.name());
  line("build", environment.at("build"));
  standard_output() << "\n";
}

nlohmann::ordered_json bench_head_json(BenchSubject const& subject) {
  auto models = nlohmann::ordered_json::object();
  for (BenchArm const& arm : subject.arms) {
    ModelConfig const& model = arm.config.model;
    models[arm.name] = {{"params", parameters_of(arm, subject.vocab_size)},
                        {"layers", model.layers},
                        {"width", model.width},
                        {"context", model.context},
                        {"vocab_size", subject.vocab_size},
                        {"depth", depth_of(arm)}};
  }
  Machine const machine = this_machine(ISOBATH_VERSION, subject.device);
  return {{"environment", environment_json(machine)},
          {"device", machine.device},
          {"precision", subject.arms.front().config.precision.name()},
          {"models", models}};
}

void print_meanings(std::vector<ColumnMeaning> const& columns) {
  size_t width = 0;
  for (auto const& [column, meaning] : columns) width = std::max(width, column.size());
  standard_output() << "\n";
  for (auto const& [column, meaning] : columns) standard_output() << fmt::format("{:<{}}  {}\n", column, width, meaning);
}

void print_alone(BenchArm const& arm) {
  standard_output() << fmt::format("\n{} ({}) is measured alone: the configuration gives it no arm to be compared with (compare.arms)\n",
                                   arm.name, depth_of(arm));
}

}  // namespace isobath
