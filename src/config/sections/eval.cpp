#include "config/sections/eval.h"

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {

std::vector<ConfigField> eval_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(eval.every), duration, free, "How often the model is validated during training.").above(0).in(cadence),
      R(KEY(eval.tokens), count, free, "Validation tokens of each of these.").at_least(1).zero_is("all"),
      R(KEY(eval.final_tokens), count, free, "Validation tokens of the evaluation that ends a run.").at_least(1).zero_is("all"),
      R(KEY(eval.routing), choice, free,
        "Which losses are computed. topk: under the routing of training, which looks ahead; causal: under that of generation; both: the "
        "two."),
      R(KEY(eval.calibration_tokens), count, free,
        "Tokens of training text on which causal decisions are set to the capacity before a validation; off: decisions as trained.")
          .at_least(1)
          .zero_is("off"),
      R(KEY(eval.calibration_budget), choice, free,
        "Who shares the capacity then. layer: each routed layer keeps to its own; model: all get one offset, so that they keep to theirs "
        "on "
        "average, and tokens compete across layers (depth.kind: mod)."),
      R(KEY(eval.sample_tokens), count, free, "Length of the text sample after a validation.").at_least(1).zero_is("off"),
      R(KEY(eval.sample_prompt), text, free, "Beginning of that sample; empty: the model starts a document.").may_be_empty_too(),
      R(KEY(eval.tasks), text_list, free,
        "Task files (configs/tasks/*.yaml): questions that are scored after each validation, and by `eval`.")
          .names_paths()
          .may_be_empty_too(),
      R(KEY(eval.tasks_folder), text, free, "Folder of the files that task files name; scripts/get_tasks.sh fills it.").names_paths(),
      R(KEY(eval.task_items), count, free, "Items of each task at a validation, the same ones every time.").at_least(1).zero_is("all"),
      R(KEY(eval.final_task_items), count, free, "Items of each task at the end of a run, and of `isobath eval`.")
          .at_least(1)
          .zero_is("all"),
  };
}

}  // namespace isobath
