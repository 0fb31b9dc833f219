#include "trainer/cli/options.h"

#include <CLI/CLI.hpp>

#include "config/values.h"

namespace isobath {
namespace {

Tree scalar(std::string const& text) {
  Tree tree;
  tree.kind = Tree::Kind::scalar;
  tree.text = text;
  return tree;
}

Tree tree_of(std::string const& text, Kind kind) {
  if (kind != Kind::integer_list) return scalar(text);
  Tree list;
  list.kind = Tree::Kind::list;
  for (std::string const& item : CLI::detail::split(text, ',')) list.items.push_back(scalar(item));
  return list;
}

}  // namespace

CLI::Option* add_number(CLI::App& command, FieldRef target, NumberOption const& option) {
  Field field{};
  field.kind = option.kind;
  field.min = option.min;
  field.max = option.max;
  std::string const shown = option.name.substr(option.name.find("--"));
  auto const read = [field, target, shown](std::string const& text) {
    if (auto const wrong = assign(field, target, tree_of(text, field.kind))) throw CLI::ValidationError(shown, wrong->message);
  };
  std::string standard = format_value(field, target);
  if (option.kind == Kind::integer_list) standard = standard.substr(1, standard.size() - 2);
  CLI::Option* const added = command.add_option_function<std::string>(option.name, read, option.help);
  added->type_name(option.kind == Kind::real ? "NUMBER" : option.kind == Kind::integer_list ? "N,..." : "N");
  bool const is_allowed = !assign(field, target, tree_of(standard, option.kind));  // else it stands for "not given"
  return is_allowed ? added->default_str(standard) : added;
}

}  // namespace isobath
