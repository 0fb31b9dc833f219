#include "config/sections/checkpoint.h"

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {

std::vector<ConfigField> checkpoint_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(checkpoint.every), duration, free, "How often a checkpoint is written.").above(0).in(cadence),
      R(KEY(checkpoint.keep), integer, free, "Latest checkpoints kept, beside the best one.").between(1, 1 << 20),
      R(KEY(checkpoint.best), choice, schedule,
        "Which validation is the best. loss: the one with the lowest loss; accuracy: with the highest mean of the main metrics of "
        "eval.tasks."),
  };
}

}  // namespace isobath
