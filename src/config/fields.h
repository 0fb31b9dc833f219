#pragma once
// The one table of keys, gathered from the sections. Loading, overrides, checks, `config show`, the schema, --help, the resume classes and
// configs/README.md are all read from it.

#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "config/io.h"

namespace isobath {

enum class Kind {
  boolean,
  integer,
  count,  // an integer that may carry Ki, M, ...
  real,
  fraction,  // a share, 0.1 or 10%
  percent,   // a share that must be written with its %
  duration,
  duration_list,
  text,
  choice,
  text_list,
  integer_list,
  real_list,
  fraction_list,  // a single share is a list of one
};

using FieldRef = std::variant<bool*, int64_t*, double*, Duration*, std::string*, AnyChoice*, std::vector<std::string>*,
                              std::vector<int64_t>*, std::vector<double>*, std::vector<Duration>*>;

struct Field {
  std::string path;  // "model.layers"
  Kind kind;
  ResumeClass resume;
  std::string doc;                   // one sentence
  std::vector<std::string> choices;  // Kind::choice
  std::string zero_word;             // what stands for 0, or for an empty list: "auto", "all", "off"
  double min = -std::numeric_limits<double>::infinity();
  double max = std::numeric_limits<double>::infinity();
  bool above_min = false;  // min itself is refused
  bool below_max = false;
  bool may_be_empty = false;               // text and lists
  bool names_files = false;                // text and lists: paths of files or folders
  std::vector<std::string> no_files = {};  // words that are none of these paths
  std::vector<Unit> units;                 // Kind::duration and its list
};

template <class Owner>
struct FieldOf : Field {
  FieldRef (*at)(Owner&);
};
using ConfigField = FieldOf<Config>;
using MatchField = FieldOf<MatchConfig>;
using ArmField = FieldOf<ArmConfig>;

std::vector<ConfigField> const& config_fields();
std::vector<MatchField> const& match_fields();  // paths below compare.arms.NAME.match
std::vector<ArmField> const& arm_fields();      // paths below compare.arms.NAME, beside set, match and size

ConfigField const* find_field(std::string_view path);
bool is_section(std::string_view path);              // whether keys lie below it: "model", "train.distill"
std::string_view section_of(std::string_view path);  // "train" of "train.lr" and "train.distill.from"; "" at the top
// Whether an arm may set the key. Arms are compared with each other, so what gives the loss its meaning (data, tokenizer, evaluation,
// budget) is common to all.
bool arm_may_set(std::string_view path);

// "integer, 1 to 4096", "one of cosine, wsd": for people.
std::string describe_values(Field const& field);

}  // namespace isobath
