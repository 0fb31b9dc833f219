#include "trainer/cli/on_ranks.h"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/process.h"
#include "core/stop.h"
#include "nn/device.h"
#include "trainer/cli/options.h"
#include "trainer/launch/start_ranks.h"
#include "trainer/parallel/agreement.h"
#include "trainer/run/machine.h"
#include "trainer/run/run_folder.h"

namespace isobath {
namespace {

// This process's command line without --ranks, for the ranks.
std::vector<std::string> rank_command() {
  std::vector<std::string> command;
  for (std::string const& word : command_words()) {
    if (word.starts_with("--ranks=")) continue;
    if (!command.empty() && command.back() == "--ranks")
      command.pop_back();
    else
      command.push_back(word);
  }
  return command;
}

}  // namespace

int on_ranks(std::function<int(Ranks&, RankWatch&)> const& work) {
  Ranks ranks(find_rank_place());
  std::optional<Activity> together;  // the other ranks wait for this one: it does not leave in the midst of anything
  if (!ranks.alone()) together.emplace("working with the other ranks", Activity::Loses::work);
  if (!ranks.is_first()) log_errors_only(ranks.own_name() + ": ");
  RankWatch watch(ranks);
  try {
    return work(ranks, watch);
  } catch (LostRank const& problem) {
    watch.find_lost_rank();
    watch.tell_failure(problem.what());  // all live: only a connection broke
    throw;
  } catch (std::exception const& problem) {
    auto const* const known = dynamic_cast<Error const*>(&problem);
    std::string const what = problem.what();
    bool const is_said_by_first = !watch.tell_failure(known ? what : what.substr(0, what.find('\n')));  // LibTorch adds a stack
    if (is_said_by_first) throw Error(known ? known->code() : ExitCode::other, "");
    throw;
  }
}

std::shared_ptr<int64_t> add_ranks_option(CLI::App& command) {
  auto const count = std::make_shared<int64_t>(1);
  add_number(command, count.get(),
             {.name = "--ranks",
              .help = "Work with so many processes on this machine (torchrun, srun and mpirun start them, too)",
              .min = 1,
              .max = 1024});
  return count;
}

void run_on_ranks(int64_t count, std::function<int(Ranks&, RankWatch&)> const& work) {
  if (count > 1 && !find_rank_place().alone())
    throw Error(ExitCode::config, "--ranks starts processes, but this is one of several that a launcher has started: leave --ranks out");
  int const code = count > 1 ? start_ranks(count, rank_command()) : on_ranks(work);
  if (code != 0) throw Error(static_cast<ExitCode>(code), "");
}

void open_ranks(Ranks& ranks, RankWatch& watch, Config& config, fs::path const& path) {
  if (ranks.alone()) return;
  watch.set_timeout(config.parallel.timeout.amount);
  check_same(ranks, "program", build_id());
  bool const is_checkpoint = fs::exists(path / "manifest.json");
  check_same(ranks, is_checkpoint ? "checkpoint" : "path", is_checkpoint ? hex(checksum_file(path / "manifest.json")) : path.string());
  config.train.threads = threads_of(config.train.threads, ranks.rendezvous().sharing_cores());
  config.device = rank_device(config.device, ranks);
  at::Device const device = open_device(config.device);
  check_same(ranks, "kind of device", kind_of(device));
  ranks.open(device);
}

}  // namespace isobath
