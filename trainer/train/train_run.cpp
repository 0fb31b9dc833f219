// One run from its beginning, or from its last checkpoint, to its end.
#include <exception>
#include <optional>
#include <string>

#include "core/error.h"
#include "core/log.h"
#include "nn/device.h"
#include "trainer/compare/arms.h"
#include "trainer/parallel/agreement.h"
#include "trainer/run/machine.h"
#include "trainer/run/memory.h"
#include "trainer/run/records.h"
#include "trainer/run/run_folder.h"
#include "trainer/train/earlier_run.h"
#include "trainer/train/make_trainer.h"
#include "trainer/train/open_run.h"
#include "trainer/train/trainer.h"

namespace isobath {

namespace {

PlannedMemory memory_of_rank(Config const& config, at::Device device, Ranks const& ranks) {
  int64_t const tokens = micro_batch_sequences(config, device.is_cuda(), ranks.size()) * config.model.context;
  PlannedMemory need = planned_memory(config, planned_vocab_size(config.tokenizer), tokens);
  // Weight and gradient whole; of the two moments, where they are divided, the own part, and its sums.
  if (config.parallel.shard == Sharding::optimizer) need.state *= (2 + 3 / static_cast<double>(ranks.size())) / 4;
  return need;
}

}  // namespace

int train(Config const& common_config, std::string const& version, Ranks& ranks) {
  Config config = common_config;
  config.device = rank_device(config.device, ranks);
  at::Device const device = open_device(config.device);
  micro_batch_sequences(config, device.is_cuda(), ranks.size());  // throws for a missing device or a bad batch size, at once
  set_threads(config.train.threads, ranks.alone() ? 1 : ranks.rendezvous().sharing_cores());
  check_ranks(ranks, common_config, version);
  check_same(ranks, "kind of device", kind_of(device));
  ranks.open(device);
  RunFolder const run = open_run_folder(config, ranks);
  std::optional<EarlierRun> const earlier = find_earlier_run(run, config, ranks);
  // A process that was killed when its checkpoint was whole may not have pointed `latest` and `best` at it.
  if (earlier && ranks.is_first()) run.update_links_and_prune(earlier->state.step, earlier->state.best_step, config.checkpoint.keep);
  if (earlier && earlier->state.finished && earlier->schedule_changes.empty()) {
    if (ranks.is_first()) complete_records(run, earlier->state);
    log_info(run.root().string() + " is finished: " + std::to_string(earlier->state.step) + " steps, checkpoint " +
             earlier->checkpoint.string() + "; a larger train.budget or another name= trains more");
    return 0;
  }
  if (ranks.is_first()) log_to_file(run.root() / "train.log");
  PlannedMemory const need = memory_of_rank(config, device, ranks);
  if (device.is_cpu())
    if (auto const warning = check_memory(config, need, ranks.alone() ? 1 : ranks.rendezvous().local_ranks())) log_warning(*warning);
  try {
    TrainerParts parts = make_trainer(config, version, earlier ? &earlier->state : nullptr, ranks);
    parts.machine.ranks = ranks.size();
    return training_loop(config, run, parts, earlier, ranks);
  } catch (std::exception const& problem) {
    if (auto const refused = refused_memory(problem))
      throw Error(ExitCode::allocation, "not enough memory: " + *refused + "; '" + config.name + "' needs " + describe_need(config, need));
    throw;
  }
}

}  // namespace isobath
