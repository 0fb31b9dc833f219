// A task file and the templates in it.
#include "data/tasks/task_file.h"

#include "data/tasks/text_template.h"
#include "tests/fuzz/target.h"

void isobath::fuzz::read(std::string_view input) {
  TaskFile const task = load_task(file("task.yaml", input));
  for (std::string const& text : {task.prompt, task.continuation})
    TextTemplate(text).fill([](std::string const& field) { return " value of " + field + " "; });
}
