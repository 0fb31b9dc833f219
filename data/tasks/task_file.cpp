#include "data/tasks/task_file.h"

#include <algorithm>
#include <array>
#include <map>
#include <set>

#include "config/row.h"
#include "config/settings.h"
#include "config/values.h"
#include "core/error.h"
#include "core/utf8.h"
#include "data/sources/sources.h"
#include "data/tasks/text_template.h"

namespace isobath {
namespace {

using TaskField = FieldOf<TaskFile>;

constexpr std::array metric_names{"acc", "acc_norm", "acc_bytes", "bits_per_byte", "f1"};

#define TASK_KEY(member) #member, [](TaskFile & task) -> FieldRef { return &task.member; }

std::vector<TaskField> const& task_fields() {
  using enum Kind;
  using R = Row<TaskFile>;
  constexpr auto free = ResumeClass::free;
  static std::vector<TaskField> const fields = {
      R(TASK_KEY(description), text, free, "What the task is, with source and licence.").may_be_empty_too(),
      R(TASK_KEY(kind), choice, free, "What is asked of the model."),
      R(TASK_KEY(source), text, free, "The rows that are scored."),
      R(TASK_KEY(train), text, free, "Rows to train on and to draw solved examples from.").may_be_empty_too(),
      R(TASK_KEY(split_by), text, free, "Rows are divided by a hash of this field.").may_be_empty_too(),
      R(TASK_KEY(split_share), fraction, free, "Share of the rows that is scored.").above(0).below(1),
      R(TASK_KEY(prompt), text, free, "Template of the text before the answer.").may_be_empty_too(),
      R(TASK_KEY(continuation), text, free, "Template of what is scored."),
      R(TASK_KEY(choices), text_list, free, "The field that holds the list of options, or one field an option."),
      R(TASK_KEY(answer), text, free, "The field with the answer."),
      R(TASK_KEY(labels), text_list, free, "Values of the answer."),
      R(TASK_KEY(words), text_list, free, "The text that stands for each label."),
      R(TASK_KEY(metrics), text_list, free, "What is reported; the first is the main one."),
      R(TASK_KEY(group), text, free, "Results are also given for each value of this field.").may_be_empty_too(),
      R(TASK_KEY(few_shot), integer, free, "Solved rows before each prompt.").between(0, 1024),
      R(TASK_KEY(few_shot_seed), integer, free, "Draws them.").between(0, largest_count),
  };
  return fields;
}

class Reader {
 public:
  explicit Reader(fs::path const& path) : whole_(std::make_shared<Source const>(Source{path.string(), {}, false})) { read(path, nullptr); }

  TaskFile finish() {
    check_kind();
    check_templates();
    if (!task_.split_by.empty() && !places_.contains("split_share"))
      complain("split_by", "split_by needs split_share: the share of the rows that is scored (10%)");
    if (task_.split_by.empty() && places_.contains("split_share"))
      complain("split_share", "split_share needs split_by: the field whose hash divides the rows");
    for (std::string const& metric : task_.metrics)
      if (std::count(metric_names.begin(), metric_names.end(), metric) == 0)
        complain("metrics", "'" + metric + "' is no metric (acc, acc_norm, acc_bytes, bits_per_byte, f1)");
    if (task_.split_by.empty() && !task_.train.empty() && task_.train == task_.source)
      complain("train", "train and source are the same file: split_by and split_share divide it, or what is scored would be trained on");
    if (task_.few_shot > 0 && task_.train.empty()) complain("few_shot", "few_shot draws solved rows from `train`, which this task lacks");
    problems_.throw_if_any();
    return std::move(task_);
  }

 private:
  void read(fs::path const& path, Place const* from) {
    auto const fail = [&](std::string const& why) {
      from ? problems_.add(*from, "include: " + path.string() + ": " + why) : problems_.add(path.string() + ": error: " + why);
    };
    std::error_code ignored;
    if (!fs::is_regular_file(path, ignored)) return fail(fs::exists(path, ignored) ? "is no file" : "no such file");
    if (!open_.insert(fs::weakly_canonical(path, ignored).string()).second) return fail("files include each other in a circle");
    std::string text = read_file(path);
    text.erase(0, byte_order_mark(text));
    auto const source = std::make_shared<Source const>(Source{path.string(), split_lines(text)});
    Tree const tree = parse_tree(text, source, problems_);
    if (tree.kind != Tree::Kind::map) {
      if (problems_.empty()) problems_.add({source, 1, 1}, "a task file is a map of keys (kind: choice, source: ..., prompt: ...)");
      return;
    }
    for (auto const& [key, value] : tree.entries)
      if (key.text == "include") read(path.parent_path() / value.text, &value.place);
    std::set<std::string> seen;
    for (auto const& [key, value] : tree.entries) {
      if (!seen.insert(key.text).second) problems_.add(key.place, "key '" + key.text + "' stands twice");
      if (key.text != "include") take(key, value);
    }
  }

  void take(Tree const& key, Tree const& value) {
    auto const& fields = task_fields();
    auto const field = std::find_if(fields.begin(), fields.end(), [&](TaskField const& f) { return f.path == key.text; });
    if (field == fields.end()) {
      std::vector<std::string> names{"include"};
      for (TaskField const& known : fields) names.push_back(known.path);
      std::string const near = nearest(key.text, names);
      std::string all;
      for (std::string const& name : names) all += (all.empty() ? "" : ", ") + name;
      problems_.add(key.place, "unknown key '" + key.text + "' (" + (near.empty() ? "keys: " + all : "did you mean '" + near + "'?") + ")");
      return;
    }
    places_[key.text] = value.place;
    if (auto const wrong = assign(*field, field->at(task_), value)) {
      problems_.add(wrong->place, key.text + ": " + wrong->message);
      bad_.insert(key.text);
    }
  }

  bool has(std::string const& key) const { return places_.contains(key); }
  void complain(std::string const& key, std::string const& message) {
    if (!bad_.contains(key)) problems_.add(has(key) ? places_.at(key) : Place{whole_, 1, 1}, message);
  }

  void check_kind() {
    if (!has("source")) complain("source", "a task needs its source: the file of the rows that are scored");
    if (bad_.contains("kind")) return;
    std::string const kind = task_.kind.name();
    // Keys that a kind needs, and those that it does not have.
    static std::map<TaskKind, std::pair<std::vector<std::string>, std::vector<std::string>>> const keys{
        {TaskKind::choice, {{"choices", "answer"}, {"labels", "words"}}},
        {TaskKind::label, {{"labels", "words", "answer", "prompt"}, {"choices"}}},
        {TaskKind::pair, {{"choices"}, {"labels", "words", "answer"}}},
        {TaskKind::cloze, {{"continuation", "prompt"}, {"labels", "words", "answer", "choices"}}}};
    auto const& [needed, unknown] = keys.at(task_.kind);
    for (std::string const& key : needed)
      if (!has(key)) complain(key, "kind '" + kind + "' needs '" + key + "'");
    for (std::string const& key : unknown)
      if (has(key)) complain(key, "kind '" + kind + "' has no '" + key + "'");
    if (task_.kind == TaskKind::pair && has("choices") && task_.choices.size() != 2)
      complain("choices", "kind 'pair' compares two fields, [better, worse]; " + std::to_string(task_.choices.size()) + " are given");
    if (task_.labels.size() != task_.words.size())
      complain("words", std::to_string(task_.words.size()) + " words for " + std::to_string(task_.labels.size()) + " labels");
    if (task_.kind == TaskKind::label && std::set(task_.labels.begin(), task_.labels.end()).size() < 2)
      complain("labels", "at least two different labels are needed");
  }

  void check_templates() {
    bool mentions_choice = false;
    for (auto const& [key, text] : {std::pair("prompt", task_.prompt), std::pair("continuation", task_.continuation)}) {
      try {
        for (std::string const& field : TextTemplate(text).fields()) mentions_choice |= field == "choice";
      } catch (Error const& error) {
        complain(key, std::string(key) + ": " + error.what());
        return;
      }
    }
    bool const options = task_.kind != TaskKind::cloze;
    if (mentions_choice == options) return;
    complain("continuation", options ? "neither prompt nor continuation has {choice}, so that all options would be the same"
                                     : "kind 'cloze' has no {choice}: name the field of the text that is to follow");
  }

  TaskFile task_;
  std::shared_ptr<Source const> whole_;
  Problems problems_;
  std::map<std::string, Place> places_;
  std::set<std::string> open_, bad_;
};

}  // namespace

TaskFile load_task(fs::path const& path) {
  TaskFile task = Reader(path).finish();
  task.name = path.stem().string();
  return task;
}

std::vector<fs::path> find_task_files(std::vector<std::string> const& names) {
  std::vector<fs::path> files;
  for (std::string const& name : names) {
    fs::path const path = expand_user(name);
    std::error_code ignored;
    bool const is_glob = name.find_first_of("*?[") != std::string::npos;
    if (!is_glob && !fs::exists(path, ignored)) {
      fs::path const shipped = fs::path("configs/tasks") / (name + ".yaml");
      throw Error(ExitCode::config, "task file '" + name + "': no such file" +
                                        (fs::exists(shipped, ignored) ? " (did you mean '" + shipped.string() + "'?)" : ""));
    }
    size_t const before = files.size();
    for (SourceFile const& file : list_sources({name}))
      if (file.path.extension() == ".yaml") files.push_back(file.path);
    if (files.size() == before) throw Error(ExitCode::config, "'" + name + "' holds no task file (.yaml)");
  }
  std::set<std::string> seen;
  for (fs::path const& file : files) {
    if (std::string const name = file.stem().string(); utf8_prefix(name) < name.size())
      throw Error(ExitCode::config, "task file " + file.string() + ": its name is not UTF-8, and results are written under it: rename it");
    if (!seen.insert(file.stem().string()).second)
      throw Error(ExitCode::config, "task '" + file.stem().string() + "' is named twice, the second time by " + file.string());
  }
  return files;
}

}  // namespace isobath
