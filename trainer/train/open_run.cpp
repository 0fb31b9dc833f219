#include "trainer/train/open_run.h"

#include "config/io.h"
#include "trainer/parallel/agreement.h"
#include "trainer/run/machine.h"

namespace isobath {

void check_ranks(Ranks const& ranks, Config const& config, std::string const& version) {
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
