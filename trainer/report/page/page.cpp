// report.html: one file that needs no network. The browser draws it from report.json, which it holds.
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>

#include "trainer/report/page/files.h"
#include "trainer/report/page/page_json.h"
#include "trainer/report/report.h"

namespace isobath {
namespace {

std::string replace_all(std::string text, std::string_view from, std::string_view to) {
  for (size_t at = 0; (at = text.find(from, at)) != std::string::npos; at += to.size()) text.replace(at, from.size(), to);
  return text;
}

std::string escape_markup(std::string const& text) { return replace_all(replace_all(text, "&", "&amp;"), "<", "&lt;"); }

// JSON with the replacement character for invalid UTF-8. In a page, "<" must not end the script that holds it.
std::string dump(nlohmann::ordered_json const& json) {
  return replace_all(json.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace), "<", "\\u003c");
}

std::string valid_utf8(std::string const& text) { return nlohmann::json::parse(dump(text)).get<std::string>(); }

// Puts values in place of each {{name}} of `page`, in one pass: values may hold braces.
std::string fill(std::string_view page, std::map<std::string, std::string, std::less<>> const& values) {
  std::string filled;
  while (true) {
    size_t const open = page.find("{{"), close = page.find("}}", open);
    if (open == std::string_view::npos || close == std::string_view::npos) return filled.append(page);
    filled.append(page.substr(0, open)).append(values.at(std::string(page.substr(open + 2, close - open - 2))));
    page.remove_prefix(close + 2);
  }
}

}  // namespace

std::string report_html(Report const& report, fs::path const& folder) {
  return fill(page_template, {{"title", escape_markup(valid_utf8(report.name))},
                              {"style", page_style},
                              {"table", escape_markup(valid_utf8(report_table(report)))},
                              {"report", dump(page_json(report_json(report, folder)))},
                              {"script", page_script}});
}

}  // namespace isobath
