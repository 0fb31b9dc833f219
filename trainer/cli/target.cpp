#include <CLI/CLI.hpp>

#include "config/io.h"
#include "core/error.h"
#include "trainer/cli/commands.h"

namespace isobath {

namespace {

// The command's option --text where it was given; else nullptr.
CLI::Option const* text_option(CLI::App& command) {
  CLI::Option const* const option = command.get_option_no_throw("--text");
  return option && option->count() > 0 ? option : nullptr;
}

}  // namespace

std::shared_ptr<Target> add_target(CLI::App& command, std::string const& name, std::string const& help, bool required) {
  auto words = std::make_shared<std::vector<std::string>>();
  auto target = std::make_shared<Target>();
  command.add_option(name, *words, help + ". After it any number of key.path=value, each of which overrides a key")
      ->option_text(key_value_text)
      ->required(required)
      ->expected(required ? 1 : 0, -1);
  if (name == "CONFIG") {
    command.footer(
        "'isobath config help' lists the keys of CONFIG with their defaults, 'isobath config help WORD' those that have to do with a "
        "word.");
  }
  // Runs before the command's own callback. A word with a '=' is an override, so the order of the words is free.
  command.parse_complete_callback([&command, words, target, name, required] {
    for (std::string const& word : *words) {
      // "dir=x/config.yaml" is a path, "data.sources=[a/b]" is not: a key holds no slash.
      auto const equals = word.find('=');
      if (equals != std::string::npos && word.find('/') > equals) {
        target->overrides.push_back(word);
      } else if (target->path.empty()) {
        target->path = word;
      } else {
        CLI::Option const* const text = text_option(command);
        throw Error(ExitCode::config,
                    "'" + word + "': one " + name + " is enough ('" + target->path + "' came first); what follows it reads " +
                        "key.path=value" +
                        (text ? ". A second text has a --text of its own: --text " + text->results().back() + " --text " + word : ""));
      }
    }
    if (required && target->path.empty()) throw CLI::RequiredError(name);
  });
  return target;
}

}  // namespace isobath
