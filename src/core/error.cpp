#include "core/error.h"

#include <utility>

namespace isobath {
namespace {

std::string join_lines(std::vector<std::string> const& lines) {
  std::string text;
  for (std::string const& line : lines) text += (text.empty() ? "" : "\n") + line;
  return text;
}

}  // namespace

ConfigError::ConfigError(std::vector<std::string> problems)
    : Error(ExitCode::config, join_lines(problems)), problems_(std::move(problems)) {}

}  // namespace isobath
