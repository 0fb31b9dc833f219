// JSON rows: documents to train on, and rows of a task.
#include "data/tasks/rows.h"

#include "core/error.h"
#include "data/sources/documents.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  fs::path const path = file("rows.jsonl", input);
  try {
    read_documents({{path, stamp_of(path), /*named=*/true, /*header=*/false}}, DataConfig(), [](std::string_view, SourceFile const&) {});
  } catch (Error const&) {
  }
  read_task_rows(path, [](JsonRow const& row) {
    row.text("text");
    row.texts("choices");
    row.index("answer", 4);
  });
}
