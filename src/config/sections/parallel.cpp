#include "config/sections/parallel.h"

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {

std::vector<ConfigField> parallel_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(parallel.shard), choice, free,
        "What the ranks of a run divide among them. none: each holds everything; optimizer: each keeps the moments of its part of the "
        "parameters, updates that part and hands it to the others (ZeRO-1)."),
      R(KEY(parallel.bucket_bytes), count, free,
        "Gradients are summed over the ranks in buckets of about this size, while the backward pass works on the next ones.")
          .between(1, 1LL << 40),
      R(KEY(parallel.timeout), duration, free, "How long a rank may be silent before the others give it up and end.")
          .between(1, 86400)
          .in({Unit::second}),
      R(KEY(parallel.check_weights), integer, free,
        "Every so many steps the ranks compare checksums of their parameters, and end when they differ.")
          .between(1, largest_count)
          .zero_is("off"),
  };
}

}  // namespace isobath
