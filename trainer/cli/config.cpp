// isobath config show|check|diff|schema|table|help

#include <CLI/CLI.hpp>
#include <optional>

#include "config/io.h"
#include "core/error.h"
#include "core/streams.h"
#include "data/tasks/examples.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/options.h"
#include "trainer/pretrained/experiment_config.h"

namespace isobath {
namespace {

void add_show(CLI::App& config) {
  CLI::App* command = config.add_subcommand("show", "Print every value and where it comes from");
  auto const target = add_target(*command, "CONFIG", "YAML file", false);
  auto const arm = std::make_shared<std::string>();
  auto const seed = std::make_shared<int64_t>(-1);
  command->add_option("--arm", *arm, "Show this arm of the experiment as it runs; mod/small: in its size small")->type_name("NAME");
  add_number(*command, seed.get(), {.name = "--seed", .help = "With this seed (default: the first of compare.seeds)"})->needs("--arm");
  command->callback([target, arm, seed] {
    LoadedConfig loaded = load_experiment(target->path, target->overrides);
    size_t const slash = std::min(arm->find('/'), arm->size());
    RunId const run{arm->substr(0, slash), *seed >= 0 ? *seed : loaded.config.compare.seeds.front(),
                    arm->substr(std::min(slash + 1, arm->size()))};
    if (!arm->empty()) loaded = arm_config(loaded, run);
    standard_output() << show_config(loaded);
  });
}

void add_check(CLI::App& config) {
  CLI::App* command = config.add_subcommand("check", "Report all problems at once; exit 2 if there are any");
  auto const target = add_target(*command, "CONFIG", "YAML file");
  command->callback([target] {
    LoadedConfig const loaded = load_experiment(target->path, target->overrides);
    for (RunId const& run : experiment_runs(loaded.config.compare))
      if (run.seed == loaded.config.compare.seeds.front()) arm_config(loaded, run);
    std::string found;
    if (size_t const arms = loaded.config.compare.arms.size(); arms > 0) found = std::to_string(arms) + " arms";
    if (!loaded.config.data.tasks.empty()) {
      TaskExamples const examples = read_examples(loaded.config);
      found += (found.empty() ? "" : ", ") + std::to_string(examples.tasks) + (examples.tasks == 1 ? " task with " : " tasks with ") +
               std::to_string(examples.train.size()) + " examples to train on and " + std::to_string(examples.valid.size()) +
               " for validation";
    }
    standard_output() << target->path << ": ok" << (found.empty() ? "" : " (" + found + ")") << "\n";
  });
}

char const* consequence(ResumeClass resume) {
  switch (resume) {
    case ResumeClass::identity:
      return "identity: resume refuses this";
    case ResumeClass::content:
      return "content: resume refuses other text, not another place of it";
    case ResumeClass::schedule:
      return "schedule: resume starts a new segment";
    case ResumeClass::free:
      return "free";
  }
  return "";
}

void add_diff(CLI::App& config) {
  CLI::App* command = config.add_subcommand("diff", "Print the keys in which two configurations differ, and what resume makes of it");
  auto const before = std::make_shared<std::string>(), after = std::make_shared<std::string>();
  command->add_option("BEFORE", *before, "YAML file")->required();
  command->add_option("AFTER", *after, "YAML file")->required();
  command->callback([before, after] {
    auto const differences = diff_configs(load_config(*before, {}).config, load_config(*after, {}).config);
    for (ConfigDifference const& difference : differences) {
      standard_output() << difference.path << ": " << difference.before << " -> " << difference.after << "  ("
                        << consequence(difference.resume) << ")\n";
    }
    if (differences.empty()) standard_output() << "no difference\n";
  });
}

void add_help(CLI::App& config) {
  CLI::App* command = config.add_subcommand("help", "List keys: all of them, those of a section, or those that have to do with a word");
  auto const prefix = std::make_shared<std::string>();
  command->add_option("TOPIC", *prefix, "A section (model), a key (train.lr), or any word (warmup, gelu, batch)");
  command->callback([prefix] {
    std::string const text = config_help(*prefix);
    if (text.empty())
      throw Error(ExitCode::config, "no key, and no meaning of one, has '" + *prefix + "' in it (see 'isobath config help')");
    standard_output() << text;
  });
}

}  // namespace

void add_config(CLI::App& app) {
  CLI::App* config = app.add_subcommand("config", "Show, check, compare and explain configurations");
  config->require_subcommand(1);
  add_show(*config);
  add_check(*config);
  add_diff(*config);
  config->add_subcommand("schema", "Print a JSON Schema (draft-07) for editors")->callback([] {
    standard_output() << config_json_schema();
  });
  config->add_subcommand("table", "Print configs/README.md: every key in a Markdown table")->callback([] {
    standard_output() << config_key_table();
  });
  add_help(*config);
}

}  // namespace isobath
