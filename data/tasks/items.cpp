#include "data/tasks/items.h"

#include <algorithm>
#include <map>
#include <set>

#include "core/error.h"
#include "core/log.h"
#include "core/random.h"
#include "data/tasks/rows.h"
#include "data/tasks/text_template.h"

namespace isobath {
namespace {

// Makes items of rows.
class ItemBuilder {
 public:
  explicit ItemBuilder(TaskFile const& task) : task_(task), prompt_(task.prompt), continuation_(task.continuation) {
    for (std::string const& label : task.labels)
      if (std::find(answers_.begin(), answers_.end(), label) == answers_.end()) answers_.push_back(label);
  }

  std::vector<std::string> const& answers() const { return answers_; }

  TaskItem item(JsonRow const& row) const {
    TaskItem item;
    item.line = row.line;
    if (!task_.group.empty()) item.group = row.text_or_number(task_.group);
    for (auto const& of_row : choices(row)) {
      std::string const& choice = of_row.first;
      auto const value = [&](std::string const& field) { return field == "choice" ? choice : row.text_or_number(field); };
      TaskOption option{prompt_.fill(value), continuation_.fill(value), choice, of_row.second};
      if (task_.kind == TaskKind::cloze) option.choice = trimmed_start(option.continuation);
      if (!prompt_.empty() && option.context.find_first_not_of(" \t\r\n") == std::string::npos)
        row.fail("the prompt is empty, for the fields of `prompt` in " + task_.name + " are");
      if (option.continuation.find_first_not_of(' ') == std::string::npos)
        row.fail("option " + std::to_string(item.options.size()) + " is empty: there is nothing to score");
      item.options.push_back(std::move(option));
    }
    item.answers = task_.kind == TaskKind::label ? std::ssize(answers_) : std::ssize(item.options);
    item.answer = right_answer(row, item);
    return item;
  }

 private:
  static std::string trimmed_start(std::string const& text) { return text.substr(std::min(text.find_first_not_of(' '), text.size())); }

  // The options of a row, and which answer each stands for.
  std::vector<std::pair<std::string, int64_t>> choices(JsonRow const& row) const {
    std::vector<std::pair<std::string, int64_t>> found;
    if (task_.kind == TaskKind::cloze) return {{"", 0}};
    if (task_.kind == TaskKind::label) {
      for (size_t i = 0; i < task_.words.size(); ++i)
        found.emplace_back(task_.words[i], std::find(answers_.begin(), answers_.end(), task_.labels[i]) - answers_.begin());
      return found;
    }
    std::vector<std::string> texts;
    if (task_.choices.size() == 1) {
      texts = row.texts(task_.choices.front());
    } else {
      for (std::string const& field : task_.choices) texts.push_back(row.text_or_number(field));
    }
    if (texts.size() < 2)
      row.fail("field '" + task_.choices.front() + "' has " + std::to_string(texts.size()) + " options, where two or more are needed");
    for (std::string& text : texts) found.emplace_back(std::move(text), std::ssize(found));
    return found;
  }

  int64_t right_answer(JsonRow const& row, TaskItem const& item) const {
    if (task_.kind == TaskKind::choice) return row.index(task_.answer, std::ssize(item.options));
    if (task_.kind != TaskKind::label) return 0;
    std::string const label = row.text_or_number(task_.answer);
    auto const found = std::find(answers_.begin(), answers_.end(), label);
    if (found != answers_.end()) return found - answers_.begin();
    std::string all;
    for (std::string const& answer : answers_) all += (all.empty() ? "" : ", ") + answer;
    row.fail("field '" + task_.answer + "' is '" + label + "', none of the labels of " + task_.name + " (" + all + ")");
  }

  TaskFile const& task_;
  TextTemplate prompt_, continuation_;
  std::vector<std::string> answers_;
};

// Rows of ready requests: one a continuation, those of a question one after another.
std::vector<TaskItem> ready_requests(fs::path const& file) {
  std::vector<TaskItem> items;
  std::string last;
  read_task_rows(file, [&](JsonRow const& row) {
    std::string const question = row.text_or_number("doc_id");
    auto const request = row.values.find("request");
    if (request == row.values.end() || !request->is_object()) row.fail("no field 'request' with context and continuation");
    JsonRow const inside{*request, row.line, row.where};
    if (question != last || items.empty()) {
      items.emplace_back().line = row.line;
      items.back().answer = row.index("label", INT64_MAX);
    }
    last = question;
    std::vector<TaskOption>& options = items.back().options;
    std::string const continuation = inside.text_or_number("continuation");
    if (continuation.empty()) row.fail("field 'continuation' is empty: there is nothing to score");
    options.push_back(
        {inside.text_or_number("context"), continuation, continuation.substr(continuation.starts_with(' ')), std::ssize(options)});
  });
  for (TaskItem& item : items) {
    item.answers = std::ssize(item.options);
    if (item.answer >= item.answers)
      throw Error(ExitCode::data, file.string() + ":" + std::to_string(item.line) + ": label " + std::to_string(item.answer) +
                                      " is out of range, for there are " + std::to_string(item.answers) + " continuations");
  }
  return items;
}

// A number in [0, 1) that a row's text gives.
double share_of(JsonRow const& row, std::string const& field) {
  return static_cast<double>(hash_text(row.text_or_number(field)) >> 11) * 0x1p-53;
}

std::vector<TaskItem> items_of(TaskFile const& task, fs::path const& file, bool scored) {
  if (file.filename().string().starts_with("requests.jsonl")) {
    if (!task.split_by.empty() || task.few_shot > 0)
      throw Error(ExitCode::config,
                  task.name + ": ready requests (" + file.string() + ") are scored as they are, without split_by and few_shot");
    return ready_requests(file);
  }
  ItemBuilder const builder(task);
  std::vector<TaskItem> items;
  read_task_rows(file, [&](JsonRow const& row) {
    if (task.split_by.empty() || (share_of(row, task.split_by) < task.split_share) == scored) items.push_back(builder.item(row));
  });
  if (items.empty()) throw Error(ExitCode::data, file.string() + " has no rows for task " + task.name);
  return items;
}

uint64_t hash_of(TaskItem const& item) {
  uint64_t key = make_key({static_cast<uint64_t>(item.answer)});
  for (TaskOption const& option : item.options)
    key = make_key({key, hash_text(option.context), hash_text(option.continuation), static_cast<uint64_t>(option.answer)});
  return key;
}

// The items with the lowest hashes, in their own order.
void keep(std::vector<TaskItem>& items, int64_t most) {
  if (most == 0 || most >= std::ssize(items)) return;
  std::vector<std::pair<uint64_t, size_t>> hashes;  // with the item's number, which tells equal items apart
  for (size_t i = 0; i < items.size(); ++i) hashes.emplace_back(hash_of(items[i]), i);
  auto sorted = hashes;
  std::nth_element(sorted.begin(), sorted.begin() + most, sorted.end());
  auto const limit = sorted[static_cast<size_t>(most)];
  std::vector<TaskItem> kept;
  for (size_t i = 0; i < items.size(); ++i)
    if (hashes[i] < limit) kept.push_back(std::move(items[i]));
  items = std::move(kept);
}

// Puts solved rows of `train` before each prompt.
void add_examples(TaskFile const& task, fs::path const& folder, std::vector<TaskItem>& items) {
  TaskFile plain = task;
  plain.few_shot = 0;
  std::vector<TaskItem> const solved = read_training_items(plain, folder).items;
  if (std::ssize(solved) < task.few_shot)
    throw Error(ExitCode::data, task.name + ": few_shot is " + std::to_string(task.few_shot) + ", but `train` has " +
                                    std::to_string(solved.size()) + " rows");
  uint64_t const key = make_key({static_cast<uint64_t>(task.few_shot_seed), hash_text("few-shot")});
  std::string examples;
  for (int64_t i = 0; i < task.few_shot; ++i) {
    TaskItem const& item = solved[permute(static_cast<uint64_t>(i), solved.size(), key)];
    auto const right = std::find_if(item.options.begin(), item.options.end(), [&](TaskOption const& o) { return o.answer == item.answer; });
    examples += right->context + right->continuation + "\n\n";
  }
  for (TaskItem& item : items)
    for (TaskOption& option : item.options) option.context = examples + option.context;
}

TaskItems finish(TaskFile const& task, std::vector<TaskItem> items) {
  TaskItems result;
  result.labels = ItemBuilder(task).answers();
  uint64_t key = make_key({items.size()});
  for (TaskItem& item : items) {
    key = make_key({key, hash_of(item)});
    for (TaskOption const& a : item.options)
      for (TaskOption const& b : item.options)
        item.equal_options |= a.answer < b.answer && a.context == b.context && a.continuation == b.continuation;
  }
  result.key = hex(key);
  result.items = std::move(items);
  return result;
}

}  // namespace

TaskItems read_task_items(TaskFile const& task, fs::path const& folder, int64_t most) {
  std::vector<TaskItem> items = items_of(task, find_task_source(folder, task.source), true);
  keep(items, most);
  if (task.few_shot > 0) add_examples(task, folder, items);
  TaskItems result = finish(task, std::move(items));
  auto const equal = [](TaskItem const& item) { return item.equal_options; };
  if (int64_t const count = std::count_if(result.items.begin(), result.items.end(), equal); count > 0)
    log_warning(task.name + ": " + std::to_string(count) + " of " + std::to_string(result.items.size()) +
                " items have two equal options (the first in line " +
                std::to_string(std::find_if(result.items.begin(), result.items.end(), equal)->line) +
                "); where the right one is among them, the item counts as wrong");
  return result;
}

TaskItems read_training_items(TaskFile const& task, fs::path const& folder) {
  if (task.train.empty()) throw Error(ExitCode::config, "task " + task.name + " has no `train`: rows to train on");
  TaskFile plain = task;
  plain.few_shot = 0;
  return finish(plain, items_of(plain, find_task_source(folder, task.train), false));
}

}  // namespace isobath
