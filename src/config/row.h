#pragma once
// How a section writes its rows of the table of keys.

#include <string>
#include <utility>
#include <vector>

#include "config/fields.h"

namespace isobath {

// A table row under construction; the setters read like the sentence they stand for.
template <class Owner>
struct Row : FieldOf<Owner> {
  Row(char const* path, FieldRef (*at)(Owner&), Kind kind, ResumeClass resume, char const* doc) {
    this->path = path;
    this->at = at;
    this->kind = kind;
    this->resume = resume;
    this->doc = doc;
    if (kind == Kind::choice) this->choices = default_choices(at);
    if (kind == Kind::fraction || kind == Kind::percent || kind == Kind::fraction_list) between(0, 1);
  }
  // The names of a Choice<E>; a text that is chosen from a table gets its names by one_of().
  static std::vector<std::string> default_choices(FieldRef (*at)(Owner&)) {
    static Owner defaults;
    FieldRef const target = at(defaults);
    auto* const choice = std::get_if<AnyChoice*>(&target);
    return choice ? std::vector<std::string>((*choice)->names().begin(), (*choice)->names().end()) : std::vector<std::string>();
  }
  Row& between(double low, double high) {
    this->min = low;
    this->max = high;
    return *this;
  }
  Row& at_least(double low) {
    this->min = low;
    return *this;
  }
  Row& above(double low) {
    this->min = low;
    this->above_min = true;
    return *this;
  }
  Row& below(double high) {
    this->max = high;
    this->below_max = true;
    return *this;
  }
  Row& one_of(std::vector<std::string> const& choices) {
    this->choices = choices;
    return *this;
  }
  Row& in(std::vector<Unit> const& units) {
    this->units = units;
    return *this;
  }
  Row& zero_is(char const* word) {
    this->zero_word = word;
    return *this;
  }
  // The values are paths, but for these words.
  Row& names_paths(std::vector<std::string> const& but = {}) {
    this->names_files = true;
    this->no_files = but;
    return *this;
  }
  Row& may_be_empty_too() {
    this->may_be_empty = true;
    return *this;
  }
};

// The path of a key is the name of its member.
#define KEY(member) #member, [](Config & config) -> FieldRef { return &config.member; }
#define ARM_KEY(member) #member, [](ArmConfig & arm) -> FieldRef { return &arm.member; }
#define MATCH_KEY(member) #member, [](MatchConfig & match) -> FieldRef { return &match.member; }

// Units of what happens again and again during a run.
inline std::vector<Unit> const cadence{Unit::step, Unit::token, Unit::flop, Unit::epoch, Unit::percent};
inline constexpr double largest_count = 9007199254740992.0;  // 2^53

}  // namespace isobath
