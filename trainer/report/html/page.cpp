// report.html: one file, no network, no script.
#include "trainer/report/html/page.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "trainer/report/html/markup.h"
#include "trainer/report/html/style.h"

namespace isobath {
namespace {

std::string notes(Report const& report) {
  std::string items;
  for (std::string const& run : report.incomplete) items += "<li>Incomplete: " + prose(run) + "</li>";
  for (std::string const& warning : report.warnings) items += "<li>" + prose(warning) + "</li>";
  return items.empty() ? "" : "<ul class=\"warnings\">" + items + "</ul>";
}

std::string provenance(Report const& report) {
  std::string rows;
  auto const entry = [&](std::string const& key, std::string const& value) {
    rows += "<dt>" + escape_html(key) + "</dt><dd>" + value + "</dd>";
  };
  if (!report.command.empty()) entry("command", "<code>" + escape_html(report.command) + "</code>");
  RunResult const& first = report.arms.front().runs.front();
  for (auto const& [key, value] : first.environment) {
    bool const memory = key == "memory_bytes";
    entry(memory ? "memory" : replace_all(key, "_", " "), escape_html(memory ? format_bytes(std::stod(value)) : value));
  }
  entry("seeds", fmt::format("{}", fmt::join(report.seeds(), ", ")));
  std::string sources;
  for (std::string const& source : first.config.data.sources) sources += (sources.empty() ? "" : ", ") + source;
  entry("text", escape_html(sources));
  entry("tokenizer", escape_html(first.config.tokenizer.is_trained() ? fmt::format("BPE, {} pieces", first.config.tokenizer.vocab_size)
                                                                     : first.config.tokenizer.kind));
  entry("batch", fmt::format("{} tokens in sequences of {}", first.config.train.batch_tokens, first.config.model.context));
  for (ArmResult const& arm : report.arms)
    entry(
        "run of " + arm.name,
        "<code>" + escape_html(arm.runs.front().command.empty() ? arm.runs.front().folder.string() : arm.runs.front().command) + "</code>");
  return "<h2>How this was made</h2><dl>" + rows +
         "</dl><p class=\"note\">FLOPs by the ledger: linear maps 2 per weight and row, attention on the causal "
         "triangle, backward twice "
         "the forward; routers, predictors and the head counted; norms, activations and evaluation not.</p>";
}

}  // namespace

std::string report_html(Report const& report) {
  std::string body = fmt::format("<h1>{}</h1>", escape_html(report.name));
  if (report.arms.empty()) {
    body += "<p class=\"lead\">No run has finished.</p>" + notes(report);
  } else {
    auto const seeds = report.seeds().size();
    body += fmt::format(
        "<p class=\"lead\">{} arms, {} seed{}, width {}, context {}; validation loss under the causal routing that "
        "generation uses.</p>",
        report.arms.size(), seeds, seeds == 1 ? "" : "s", report.arms.front().config().model.width,
        report.arms.front().config().model.context);
    body += html_verdicts(report) + notes(report) + html_charts(report) + html_results(report) + html_pairs(report) +
            html_depth_text(report) + html_routing(report) + provenance(report);
  }
  return fmt::format(
      "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width, initial-scale=1\">\n"
      "<title>{} \u00b7 Isobath</title>\n<style>{}</style>\n</head>\n<body><main>\n{}\n</main></body>\n</html>\n",
      escape_html(report.name), report_style, body);
}

}  // namespace isobath
