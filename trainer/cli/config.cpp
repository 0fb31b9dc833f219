// isobath config show|check|diff|schema|table|help

#include <CLI/CLI.hpp>

#include "trainer/cli/commands.h"

namespace isobath {

void add_config(CLI::App& app) {
  CLI::App* config = app.add_subcommand("config", "Show, check and compare configurations");
  config->group("Inspect");
  config->require_subcommand(1);
}

}  // namespace isobath
