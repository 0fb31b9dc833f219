// isobath runs: what runs there are.

#include <CLI/CLI.hpp>

#include "core/error.h"
#include "core/streams.h"
#include "trainer/cli/commands.h"
#include "trainer/report/run_list.h"

namespace isobath {

void add_runs(CLI::App& app) {
  CLI::App* command = app.add_subcommand("runs", "List runs and experiments: state, step, loss, speed, age");
  auto const folder = std::make_shared<std::string>("runs");
  command->add_option("FOLDER", *folder, "Where to look; the folder of an experiment, or any other")->capture_default_str();
  command->callback([folder] {
    RunList list(expand_user(*folder));
    list.update();
    if (list.is_empty()) throw Error(ExitCode::data, "there are no runs in " + *folder);
    standard_output() << list.table();
  });
}

}  // namespace isobath
