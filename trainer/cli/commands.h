#pragma once
// One add_NAME per command, each in its own file: adds a subcommand whose callback does the work. A callback ends the
// program with another exit code than 0 by throwing Error(code, message); an empty message prints nothing.

#include <memory>
#include <string>
#include <vector>

namespace CLI {
class App;
}

namespace isobath {

// The positionals every command shares: `CONFIG|PATH [key.path=value ...]`.
struct Target {
  std::string path;                    // empty when it was left out (only where it is optional)
  std::vector<std::string> overrides;  // each holds a '='
};

constexpr char const* key_value_text = "[key.path=value ...]";

// Adds both positionals to `command`. `name` is what the help calls the first one ("CONFIG", "CHECKPOINT"). The returned
// value is filled when the command's callback runs; capture it by value.
std::shared_ptr<Target> add_target(CLI::App& command, std::string const& name, std::string const& help, bool required = true);

void add_plan(CLI::App& app);
void add_train(CLI::App& app);
void add_compare(CLI::App& app);
void add_report(CLI::App& app);
void add_runs(CLI::App& app);
void add_watch(CLI::App& app);
void add_eval(CLI::App& app);
void add_analyze(CLI::App& app);
void add_generate(CLI::App& app);
void add_export(CLI::App& app);
void add_inspect(CLI::App& app);
void add_data(CLI::App& app);
void add_tokenizer(CLI::App& app);
void add_config(CLI::App& app);
void add_bench(CLI::App& app);
void add_bench_ops(CLI::App& bench);  // below `bench`
void add_bench_decode(CLI::App& bench);

}  // namespace isobath
