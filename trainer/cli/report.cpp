// isobath report: makes the tables and the HTML page again from run folders.

#include <CLI/CLI.hpp>

#include "core/error.h"
#include "core/streams.h"
#include "trainer/cli/commands.h"
#include "trainer/metrics/metric.h"
#include "trainer/report/report.h"

namespace isobath {

void add_report(CLI::App& app) {
  CLI::App* command = app.add_subcommand("report", "Rebuild the tables and the HTML report from run folders");
  command->group("Compare");
  auto const folders = std::make_shared<std::vector<std::string>>();
  auto const output = std::make_shared<std::string>();
  CLI::Option* const runs = command->add_option(
      "RUN", *folders, "The folder of a comparison, those of several machines that divided one, or any number of run folders");
  command->add_option("--output", *output, "Folder for report.json and report.html (default: the comparison's own, else here)");
  auto const metrics = std::make_shared<bool>(false);
  command->add_flag("--metrics", *metrics, "Print docs/metrics.md instead: every metric, its unit and meaning");
  command->callback([folders, output, runs, metrics] {
    if (*metrics) {
      standard_output() << metric_documentation();
      return;
    }
    if (runs->count() == 0) throw CLI::RequiredError("RUN");
    std::vector<fs::path> paths;
    for (std::string const& folder : *folders) {
      fs::path const path = expand_user(folder);
      if (!fs::is_directory(path)) throw Error(ExitCode::data, path.string() + " is no folder");
      paths.push_back(path);
    }
    bool const own = paths.size() == 1 && fs::exists(paths.front() / "experiment.yaml");
    Report const report = read_report(paths);
    fs::path const page = write_report(report, !output->empty() ? expand_user(*output) : own ? paths.front() : fs::path("."));
    standard_output() << report_table(report) << "\nreport: " << page.string() << "\n";
  });
}

}  // namespace isobath
