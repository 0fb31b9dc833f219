#pragma once
// One log for the program: stderr (plain or coloured) and, during a run, a file beside it.

#include <filesystem>
#include <string>

namespace isobath {

void log_to_file(std::filesystem::path const& path);  // appends; called once the run folder exists
// From here on this process, one of several that do the same, prints errors alone, each with `prefix`.
void log_errors_only(std::string const& prefix);
void log_info(std::string const& message);
void log_warning(std::string const& message);
void log_error(std::string const& message);

// The live line of a long job, or several (a table). On a terminal they are redrawn in place (at most 10 times a second) and cut to its
// size; elsewhere nothing is printed here and callers log plain lines at their own pace. NO_COLOR and TERM=dumb are honoured.
bool terminal_is_live();
void live_line(std::string const& text);
void end_live_line();
bool use_color();

}  // namespace isobath
