// isobath watch: follows runs until nothing is running any more.

#include <CLI/CLI.hpp>
#include <chrono>
#include <map>
#include <set>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/streams.h"
#include "trainer/cli/commands.h"
#include "trainer/cli/options.h"
#include "trainer/report/run_list.h"

namespace isobath {
namespace {

using Clock = std::chrono::steady_clock;

// Where there is no terminal: a line for a run whenever its state changes, when it was validated, and otherwise every `interval` seconds
// while it goes on.
class News {
 public:
  explicit News(double interval) : interval_(interval) {}

  void print(RunList const& list) {
    for (RunGroup const& group : list.groups()) {
      if (!group.heading.empty() && headings_.insert(group.heading).second) standard_output() << group.heading << "\n";
      for (ListedRun const& run : group.runs) print(run);
    }
    standard_output().flush();
  }

 private:
  struct Told {
    RunStatus status;
    Clock::time_point at;
  };

  void print(ListedRun const& run) {
    auto& [before, at] = told_[run.name];
    RunStatus const& now = run.status;
    bool const due = now.step != before.step && std::chrono::duration<double>(Clock::now() - at).count() >= interval_;
    if (now.state == before.state && now.validations() <= before.validations() && !due) return;
    standard_output() << run.name << ": " << now.state << (now.planned_steps > 0 ? ", " + run_line(now) : "") << "\n";
    before = now;
    at = Clock::now();
  }

  double interval_;
  std::set<std::string> headings_;
  std::map<std::string, Told> told_;
};

void watch(std::string const& folder, double interval) {
  RunList list(expand_user(folder));
  News news(interval);
  while (true) {
    list.update();
    if (list.is_empty()) throw Error(ExitCode::data, "there are no runs in " + folder);
    if (!terminal_is_live()) news.print(list);
    if (!list.is_anything_running()) break;
    live_line(list.table());
    for (int tenth = 0; tenth < 10; ++tenth) {
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
      if (int const signal = stop_requested()) throw Stopped(signal, "stopped watching; the runs continue");
    }
  }
  log_info("nothing is running in " + folder);
  standard_output() << list.table();
}

}  // namespace

void add_watch(CLI::App& app) {
  CLI::App* command = app.add_subcommand("watch", "Follow runs live until nothing is running any more; Ctrl-C only ends the watching");
  auto const folder = std::make_shared<std::string>("runs");
  command->add_option("FOLDER", *folder, "A run, an experiment, or any folder with runs")->capture_default_str();
  auto const interval = std::make_shared<double>(30);
  add_number(*command, interval.get(),
             {.name = "--interval",
              .help = "Without a terminal: seconds between the lines of a run; validations are told at once",
              .kind = Kind::real,
              .max = 1e7});
  command->callback([folder, interval] { watch(*folder, *interval); });
}

}  // namespace isobath
