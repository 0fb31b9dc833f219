// isobath train: one run, from its start or from its last checkpoint, by one process or by several together.

#include "trainer/train/trainer.h"

#include <CLI/CLI.hpp>

#include "config/io.h"
#include "core/error.h"
#include "core/log.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/on_ranks.h"
#include "trainer/pretrained/experiment_config.h"

namespace isobath {
namespace {

int train_on(Ranks& ranks, RankWatch& watch, Target const& target) {
  LoadedConfig const loaded = load_experiment(target.path, target.overrides);
  watch.set_timeout(loaded.config.parallel.timeout.amount);
  if (!loaded.config.compare.arms.empty())
    log_info("training the base configuration alone: its compare section is for `isobath compare " + target.path +
             "`, which trains every arm; `isobath train RUN_DIR/NAME/ARM/seed-N/config.yaml` resumes one of them");
  int const signal = train(loaded.config, ISOBATH_VERSION, ranks);
  return signal == 0 ? 0 : 128 + signal;
}

}  // namespace

void add_train(CLI::App& app) {
  CLI::App* command = app.add_subcommand("train", "Train one run; goes on by itself where an interrupted one stopped");
  auto const target = add_target(*command, "CONFIG", "Experiment to train (its compare section is ignored)");
  auto const count = add_ranks_option(*command);
  command->callback(
      [target, count] { run_on_ranks(*count, [&](Ranks& ranks, RankWatch& watch) { return train_on(ranks, watch, *target); }); });
}

}  // namespace isobath
