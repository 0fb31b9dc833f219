// isobath COMMAND [OPTIONS] [CONFIG|PATH] [key.path=value ...]
// Maps every error to one message and one exit code.

#include <sys/prctl.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <filesystem>
#include <memory>
#include <sstream>
#include <string>
#include <vector>

#include "config/other_names.h"
#include "config/values.h"
#include "core/error.h"
#include "core/log.h"
#include "core/process.h"
#include "core/stop.h"
#include "core/streams.h"
#include "trainer/cli/commands.h"
#include "trainer/run/memory.h"

#ifndef ISOBATH_VERSION
#define ISOBATH_VERSION "0.1.0"
#endif

namespace isobath {
namespace {

constexpr char const* examples = R"(Examples:
  isobath plan configs/quickstart.yaml              what it will cost, before anything is allocated
  isobath compare configs/quickstart.yaml           every arm and seed at equal compute, then the report
  isobath train configs/shakespeare.yaml data.sources=[~/books] train.budget=500step
  isobath config help train                         every key of a section with its default

Anything that belongs to an experiment is a key of its YAML file; key.path=value overrides one for this call.
'isobath COMMAND --help' says more about a command.)";

struct Command {
  char const* group;  // heading in --help
  void (*add)(CLI::App&);
};

// In the order of --help.
constexpr Command commands[] = {
    {"Experiments", add_plan},   {"Experiments", add_train},       {"Experiments", add_compare},
    {"Experiments", add_report}, {"Experiments", add_runs},        {"Experiments", add_watch},
    {"Models", add_eval},        {"Models", add_analyze},          {"Models", add_generate},
    {"Models", add_export},      {"Models", add_inspect},          {"Data", add_data},
    {"Data", add_tokenizer},     {"Help and measures", add_bench}, {"Help and measures", add_config},
};

void add_commands(CLI::App& app) {
  for (Command const& command : commands) {
    command.add(app);
    app.get_subcommands([](CLI::App const*) { return true; }).back()->group(command.group);
  }
}

class Help : public CLI::Formatter {
 public:
  std::string make_usage(CLI::App const* app, std::string name) const override {
    if (app->get_parent() == nullptr) return "Usage: isobath COMMAND [OPTIONS] [CONFIG|PATH] [key.path=value ...]\n";
    std::string usage = CLI::Formatter::make_usage(app, name);
    // CLI11 prints "CONFIG...", which does not show that key.path=value may follow (add_target).
    auto const takes_keys = [](CLI::Option const* option) { return option->get_option_text() == key_value_text; };
    size_t const dots = usage.rfind("...");
    if (app->get_options(takes_keys).empty() || dots == std::string::npos) return usage;
    bool const optional = usage.compare(dots, 4, "...]") == 0;
    return usage.replace(dots, optional ? 4 : 3, std::string(optional ? "] " : " ") + key_value_text);
  }
};

std::string first_line(std::string const& text) { return text.substr(0, text.find('\n')); }

void say(std::string const& message) {
  end_live_line();
  if (!message.empty()) std::fprintf(stderr, "%s\n", message.c_str());
}

int usage_error(CLI::App const& app, CLI::ParseError const& error) {
  CLI::App const* command = &app;
  std::string name = "isobath";
  while (!command->get_subcommands().empty()) {
    command = command->get_subcommands().front();
    name += " " + command->get_name();
  }
  std::string what = first_line(error.what());
  std::vector<std::string> const rest = app.remaining(true);
  if (what == "A subcommand is required") {
    what = "a command is required";
    if (!rest.empty() && rest.front().starts_with('-')) {
      what = "there is no option '" + rest.front() + "'";
    } else if (!rest.empty()) {
      std::vector<std::string> names;
      for (CLI::App const* candidate : command->get_subcommands([](CLI::App const*) { return true; })) {
        names.push_back(candidate->get_name());
      }
      std::string const near = nearest(rest.front(), names);
      what = "there is no command '" + rest.front() + "'" + (near.empty() ? "" : " (did you mean '" + near + "'?)");
    }
  }
  say("isobath: " + what + " (see '" + name + " --help')");
  return static_cast<int>(ExitCode::config);
}

// CLI11 takes the value of an option that does not exist for an argument, and complains about that. Names the option instead.
void check_options(CLI::App const& app, std::vector<std::string> const& words) {
  CLI::App const* command = &app;
  std::string name = "isobath";
  for (size_t i = 0; i < words.size() && words[i] != "--"; ++i) {
    std::string const& word = words[i];
    auto const deeper = command->get_subcommands([&](CLI::App const* candidate) { return candidate->get_name() == word; });
    if (!deeper.empty()) {
      command = deeper.front();
      name += " " + word;
      continue;
    }
    if (!word.starts_with("--") || command == &app) continue;
    std::string const option = word.substr(0, word.find('='));
    CLI::Option const* const known = command->get_option_no_throw(option);
    if (!known) {
      if (std::string const key = key_meant_by(option.substr(2)); !key.empty()) {
        std::string const value = word.size() > option.size() ? word.substr(option.size() + 1)
                                  : i + 1 < words.size()      ? words[i + 1]
                                                              : "VALUE";
        throw Error(ExitCode::config, "there is no option '" + option + "': keys are written without dashes, " + key + "=" + value);
      }
      std::vector<std::string> names;
      for (CLI::Option const* each : command->get_options())
        for (std::string const& long_name : each->get_lnames()) names.push_back("--" + long_name);
      std::string const near = nearest(option, names);
      throw Error(ExitCode::config, "there is no option '" + option + "'" + (near.empty() ? "" : " (did you mean '" + near + "'?)") +
                                        " (see '" + name + " --help')");
    }
    if (known->get_expected_min() > 0 && word.size() == option.size()) ++i;  // its value may begin with dashes
  }
}

int run(int argc, char** argv) {
  CLI::App app("Isobath trains, compares and runs language models that spend compute where it is needed.", "isobath");
  app.set_version_flag("--version", std::string("isobath ") + ISOBATH_VERSION, "Print the version and leave");
  app.set_help_flag("-h,--help", "Print this help and leave");
  app.formatter(std::make_shared<Help>());
  app.require_subcommand(1);
  add_commands(app);
  app.footer(examples);  // after the commands, which would inherit it
  check_options(app, {argv + 1, argv + argc});
  try {
    app.parse(argc, argv);
  } catch (CLI::Success const& request) {  // --help, --version
    std::ostringstream text;
    int const code = app.exit(request, text, text);
    standard_output() << text.str();
    return code;
  } catch (CLI::ParseError const& error) {
    return usage_error(app, error);
  }
  return static_cast<int>(ExitCode::ok);
}

// An OpenMP thread that waits for others spins for a while before it sleeps. LibTorch's OpenMP spins so long that beside another busy
// process two threads hinder each other, and a step takes many times as long (docs/speed.md). OpenMP reads the length before main, so the
// commands that compute set it and start the program again; the runs of `compare` inherit it. A policy that the user has set is kept.
void limit_spinning(int argc, char const* const* argv) {
  if (argc < 2 || std::getenv("GOMP_SPINCOUNT") || std::getenv("OMP_WAIT_POLICY")) return;
  std::string const command = argv[1];
  bool const computes = command == "train" || command == "compare" || command == "eval" || command == "analyze" || command == "generate" ||
                        command == "bench";
  if (!computes) return;
  setenv("GOMP_SPINCOUNT", "2000", 1);
  char path[4096];  // by its own path, so that the process keeps its name
  ssize_t const length = readlink("/proc/self/exe", path, sizeof path - 1);
  if (length <= 0) return;
  path[length] = '\0';
  std::vector<std::string> words = command_words();  // argv lacks those of the dynamic loader, where that was called
  std::vector<char*> arguments;
  for (std::string& word : words) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  execv(path, arguments.data());  // when that fails, this process goes on without the setting
}

// Does `work`; an error becomes a message and its exit code.
template <typename Work>
int guarded(Work const& work) {
  try {
    return work();
  } catch (ConfigError const& error) {
    for (std::string const& problem : error.problems()) say(problem);
    return static_cast<int>(error.code());
  } catch (Error const& error) {
    say(*error.what() ? std::string("isobath: ") + error.what() : "");
    return static_cast<int>(error.code());
  } catch (std::filesystem::filesystem_error const& error) {
    say("isobath: cannot work with " + error.path1().string() + ": " + error.code().message());
    return static_cast<int>(ExitCode::disk);
  } catch (std::exception const& error) {
    auto const refused = refused_memory(error);
    say("isobath: " +
        (refused ? "not enough memory: " + *refused + "; a smaller model, batch or context takes less" : first_line(error.what())));
    return static_cast<int>(refused ? ExitCode::allocation : ExitCode::other);
  } catch (...) {
    say("isobath: unknown error");
    return static_cast<int>(ExitCode::other);
  }
}

}  // namespace
}  // namespace isobath

int main(int argc, char** argv) {
  isobath::open_standard_streams();
  int const code = isobath::guarded([&] {
    isobath::limit_spinning(argc, argv);
    prctl(PR_SET_NAME, "isobath");  // runs of a comparison start from a file descriptor, whose number would be the name
    isobath::watch_stop_signals();
    return isobath::run(argc, argv);
  });
  // What was printed before an error is printed, too; the error's code stays.
  int const printed = isobath::guarded([] {
    isobath::standard_output().flush();
    return 0;
  });
  isobath::end_live_line();
  return code != 0 ? code : printed;
}
