#include "config/sections/data.h"

#include "config/row.h"
#include "config/sections/sections.h"

namespace isobath {

std::vector<ConfigField> data_fields() {
  using enum Kind;
  using enum ResumeClass;
  using R = Row<Config>;
  return {
      R(KEY(data.sources), text_list, content,
        "Files, folders or globs of text, source code, rows (.jsonl, .ndjson, .json), also compressed (.gz, .zst, .xz, .bz2); "
        "libtorch-headers is built in.")
          .names_paths({"libtorch-headers"}),
      R(KEY(data.valid_sources), text_list, content, "Validation text of its own; empty: split from data.sources.")
          .names_paths({"libtorch-headers"})
          .may_be_empty_too(),
      R(KEY(data.split), choice, identity,
        "How validation text is taken. document: whole documents, drawn by their content; tail: the end of the text; auto: document if "
        "some "
        "are small enough for valid_fraction, else tail."),
      R(KEY(data.valid_fraction), fraction, identity, "Share of the text kept for validation.").above(0).below(1),
      R(KEY(data.max_bytes), count, identity, "Bytes of text to use at most.").at_least(1).zero_is("all"),
      R(KEY(data.text_key), text, content, "Name of the text in the objects of .jsonl, .ndjson and .json."),
      R(KEY(data.bad_rows), choice, content,
        "What a row does that is broken or has no text. stop: it ends the program; skip: it is left out and counted in the log."),
      R(KEY(data.isolate_documents), boolean, identity, "Attention and positions stop at document borders inside a sequence."),
      R(KEY(data.tasks), text_list, content,
        "Task files (folders, globs) to fine-tune on, in place of data.sources: the model learns the right answers to their questions.")
          .names_paths()
          .may_be_empty_too(),
      R(KEY(data.task_weights), real_list, identity,
        "How often an example of each of data.tasks appears in an epoch: 2 is twice, 0.25 a quarter of the examples; empty: all once.")
          .above(0)
          .between(0, 1000)
          .may_be_empty_too(),
      R(KEY(data.cache_dir), text, free, "Where prepared data is kept; auto: the user's cache folder ($XDG_CACHE_HOME, else ~/.cache).")
          .names_paths({"auto"}),
  };
}

void check_data(Config const& config, std::vector<Contradiction>& found) {
  DataConfig const& data = config.data;
  if (config.checkpoint.best == BestBy::accuracy && config.eval.tasks.empty())
    found.push_back({{"checkpoint.best", "eval.tasks"}, "checkpoint.best: accuracy needs eval.tasks, whose accuracy is meant"});
  if (data.tasks.empty()) {
    if (!data.task_weights.empty()) found.push_back({{"data.task_weights"}, "data.task_weights needs data.tasks, which they are of"});
    return;
  }
  if (data.sources != DataConfig{}.sources)
    found.push_back({{"data.sources", "data.tasks"}, "data.sources and data.tasks exclude each other: a run reads text or learns tasks"});
  if (!data.valid_sources.empty())
    found.push_back(
        {{"data.valid_sources", "data.tasks"}, "data.valid_sources has no meaning with data.tasks, whose scored rows are read"});
}

}  // namespace isobath
