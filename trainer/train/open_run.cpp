#include "trainer/train/open_run.h"

#include <algorithm>

#include "config/io.h"
#include "core/log.h"
#include "trainer/parallel/agreement.h"
#include "trainer/run/machine.h"

namespace isobath {

namespace {

constexpr int64_t most_listed = 32;

void list_ranks(Ranks const& ranks) {
  if (ranks.alone()) return;
  for (int64_t rank = 0; rank < std::min(ranks.size(), most_listed); ++rank) log_info(ranks.rendezvous().name(rank));
  if (ranks.size() > most_listed) log_info("and " + std::to_string(ranks.size() - most_listed) + " ranks more");
}

}  // namespace

void check_ranks(Ranks const& ranks, Config const& config, std::string const& version) {
  list_ranks(ranks);
  check_same(ranks, "program", version + ", " + build_id());
  check_same(ranks, "configuration", to_yaml(config));
  if (config.parallel.shard == Sharding::optimizer) return;  // each part of the weights is computed once, and handed round
  Machine const machine = this_machine("", at::kCPU);
  check_same(ranks, "vector instructions (parallel.shard: optimizer takes different ones)",
             machine.cpu_capability + ", matrix products by " + machine.gemm);
}

RunFolder open_run_folder(Config const& config, Ranks const& ranks) {
  if (!ranks.is_first()) {
    ranks.wait_for_all();
    return RunFolder::of_other_rank(config);
  }
  RunFolder folder(config);
  ranks.wait_for_all();
  return folder;
}

}  // namespace isobath
