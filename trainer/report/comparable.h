#pragma once
// Which runs may be compared, and by which metric. Uses no LibTorch.

#include <string>
#include <vector>

#include "trainer/report/report.h"

namespace isobath {

struct Comparable {
  std::string metric;  // "loss_causal", or "bits_per_byte_causal" between different tokenizers; empty: nothing is fair
  std::string reason;  // why not the loss
};
// Runs are comparable when they predicted the same validation text, and their losses per token when they share a tokenizer, too.
Comparable comparable_by(std::vector<RunResult const*> const& runs);

// Why `runs` are no comparison at equal training FLOPs: their realised totals differ by more than 0.1 %, or they started from different
// weights, whose own training does not count. Empty when they are one.
std::string unequal_flops(std::vector<RunResult const*> const& runs);
// The same of training times: other devices, numbers of threads or starts, or a teacher that may have run in another run.
std::string unequal_machines(std::vector<RunResult const*> const& runs);

}  // namespace isobath
