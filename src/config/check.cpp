#include "config/check.h"

#include "config/sections/sections.h"
#include "config/values.h"

namespace isobath {

std::vector<Contradiction> find_contradictions(Config const& config, std::vector<ConfigCheck> const& extra_checks) {
  std::vector<Contradiction> found;
  for (auto const check : {check_run, check_data, check_model, check_depth, check_train, check_compare}) check(config, found);
  for (ConfigCheck const& check : extra_checks) check(config, found);
  return found;
}

void check_config(Config const& config) {
  Problems problems;
  Config copy = config, scratch;
  for (ConfigField const& field : config_fields()) {
    Problems unreadable;
    Tree const value = parse_tree(format_value(field, field.at(copy)), nullptr, unreadable);
    auto const wrong = assign(field, field.at(scratch), value);
    if (wrong) problems.add("config: error: " + field.path + ": " + wrong->message);
  }
  if (problems.empty()) {
    for (Contradiction const& contradiction : find_contradictions(config)) problems.add("config: error: " + contradiction.message);
  }
  problems.throw_if_any();
}

}  // namespace isobath
