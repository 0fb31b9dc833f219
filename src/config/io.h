#pragma once
// YAML in and out, all of it fed by the field table (config/fields.h).

#include <filesystem>
#include <functional>
#include <map>
#include <string>
#include <vector>

#include "config/config.h"
#include "config/contradiction.h"
#include "config/experiment_runs.h"

namespace isobath {

struct LoadedConfig {
  Config config;
  // Where each value that is not a default came from: "quickstart.yaml:8:12", "command line", "arm mod
  // (quickstart.yaml:31:14)".
  std::map<std::string, std::string> origins;
  // Adds what the keys stand for elsewhere, such as the sizes of the model in a file that they name, to a configuration; arm_config applies
  // it to each arm's. Empty: nothing.
  std::function<void(Config&)> look_up;
};

// Reads `file` with its `include:` chain, then the `key.path=value` overrides (value is YAML; "data.sources=[a, b]").
// Every problem of file and overrides is collected and thrown as one ConfigError.
// `file` may be empty: defaults plus overrides. What extra_checks find, in the experiment and in each of its arms, is listed with the rest.
LoadedConfig load_config(std::filesystem::path const& file, std::vector<std::string> const& overrides,
                         std::vector<ConfigCheck> const& extra_checks = {});

// The keys that `file` and `overrides` write, with the text of their values (of lists on one line: "[a, b]"). Says nothing of what is wrong
// with them.
std::map<std::string, std::string> written_values(std::filesystem::path const& file, std::vector<std::string> const& overrides);

// The configuration of one run: the experiment's, with the settings of its arm, then of its size, then of tuning; with its budget and seed;
// without `compare`; named "<name>/<path of the run>". `match` is not applied here (see model/ledger/match.h). Throws ConfigError.
LoadedConfig arm_config(LoadedConfig const& base, RunId const& run, std::vector<Assignment> const& tuned = {});

// Checks that hold between keys (heads divide width, ...) for a config made in code. Throws ConfigError.
void check_config(Config const& config);

std::string to_yaml(Config const& config);  // every key, loads back to the same Config
// Relative paths and ~ become absolute paths, so that they name the same files from every working folder. Throws Error(config) for a path
// that is not UTF-8.
Config with_absolute_paths(Config config);
std::string arm_text(ArmConfig const& arm);           // on one line: "{set: {model.layers: 3}}"
std::string show_config(LoadedConfig const& loaded);  // to_yaml with `# origin` behind each value
std::string config_json_schema();                     // JSON Schema draft-07
std::string config_key_table();                       // Markdown for configs/README.md
// One line a key: all of them, those of a section, or those that a word occurs in; empty when there are none.
std::string config_help(std::string const& topic);

// content: what the key names is compared by what it holds, wherever it lies (TrainState::data_key).
enum class ResumeClass { identity, content, schedule, free };
struct ConfigDifference {
  std::string path, before, after;
  ResumeClass resume;
};
// Keys whose values differ, in table order.
std::vector<ConfigDifference> diff_configs(Config const& before, Config const& after);
// diff_configs() after `auto` has been replaced by the value that it stands for and paths have been made absolute. A path of `before` where
// no file exists any more counts as equal, because a model or tokenizer may have moved. Which split `data.split: auto` took is not known
// here: a resumed run compares the text itself.
std::vector<ConfigDifference> resume_differences(Config const& before, Config const& now);

}  // namespace isobath
