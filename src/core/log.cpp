#include "core/log.h"

#include <fmt/format.h>
#include <spdlog/sinks/base_sink.h>
#include <spdlog/sinks/basic_file_sink.h>
#include <spdlog/spdlog.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <mutex>
#include <sstream>

#include "core/error.h"
#include "core/streams.h"

namespace isobath {
namespace {

// The terminal's side: live lines are cleared before a log line and drawn again by their next update.
std::mutex terminal_mutex;
size_t live_lines_shown = 0;
std::chrono::steady_clock::time_point live_line_drawn;
std::string error_prefix;  // not empty: nothing but errors is printed

// A log that nobody reads any more, or whose reader stands still, stops no program.
void print(std::string const& text) { write_whole(STDERR_FILENO, text, /*patience_s=*/1); }

// Moves the cursor to the beginning of the first live line.
std::string to_first_live_line() { return live_lines_shown > 1 ? fmt::format("\r\x1b[{}A", live_lines_shown - 1) : "\r"; }

void clear_live_line() {
  if (live_lines_shown > 0) print(to_first_live_line() + "\x1b[J");
  live_lines_shown = 0;
}

class TerminalSink : public spdlog::sinks::base_sink<std::mutex> {
 protected:
  void sink_it_(spdlog::details::log_msg const& message) override {
    std::string line(message.payload.data(), message.payload.size());
    if (!error_prefix.empty() && message.level != spdlog::level::err) return;
    line = error_prefix + line;
    if (message.level == spdlog::level::warn) line = paint("33", "warning: ") + line;
    if (message.level == spdlog::level::err) line = paint("31", "error: ") + line;
    std::lock_guard lock(terminal_mutex);
    clear_live_line();
    print(line + "\n");
  }
  void flush_() override {}

 private:
  static std::string paint(char const* code, std::string const& text) {
    return use_color() ? std::string("\x1b[") + code + "m" + text + "\x1b[0m" : text;
  }
};

spdlog::logger& logger() {
  static auto const instance = [] {
    auto made = std::make_shared<spdlog::logger>("isobath", std::make_shared<TerminalSink>());
    made->flush_on(spdlog::level::info);
    made->set_error_handler([](std::string const& what) { print("log: " + what + "\n"); });
    return made;
  }();
  return *instance;
}

bool is_dumb() {
  char const* term = std::getenv("TERM");
  return term == nullptr || *term == '\0' || std::strcmp(term, "dumb") == 0;
}

winsize terminal_size() {
  winsize size = {};
  if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) != 0 || size.ws_col == 0 || size.ws_row == 0) return {24, 80, 0, 0};
  return size;
}

// The beginning of a line, at most `columns` bytes: one that wraps cannot be redrawn in place. Cut between UTF-8 characters.
std::string cut_to(std::string const& line, size_t columns) {
  size_t length = std::min(line.size(), columns);
  while (length < line.size() && length > 0 && (static_cast<unsigned char>(line[length]) & 0xc0) == 0x80) --length;
  return line.substr(0, length);
}

}  // namespace

void log_to_file(std::filesystem::path const& path) {
  try {
    auto sink = std::make_shared<spdlog::sinks::basic_file_sink_mt>(path.string());
    sink->set_pattern("%Y-%m-%d %H:%M:%S.%e %l %v");
    logger().sinks().push_back(std::move(sink));
  } catch (spdlog::spdlog_ex const& error) {
    throw Error(ExitCode::disk, "cannot write the log " + path.string() + ": " + error.what());
  }
}

void log_errors_only(std::string const& prefix) { error_prefix = prefix; }

void log_info(std::string const& message) { logger().log(spdlog::level::info, spdlog::string_view_t(message)); }
void log_warning(std::string const& message) { logger().log(spdlog::level::warn, spdlog::string_view_t(message)); }
void log_error(std::string const& message) { logger().log(spdlog::level::err, spdlog::string_view_t(message)); }

bool use_color() {
  static bool const answer = [] {
    char const* no_color = std::getenv("NO_COLOR");
    return isatty(STDERR_FILENO) == 1 && !is_dumb() && (no_color == nullptr || *no_color == '\0');
  }();
  return answer;
}

bool terminal_is_live() {
  static bool const answer = isatty(STDERR_FILENO) == 1 && !is_dumb();
  return answer && error_prefix.empty();
}

void live_line(std::string const& text) {
  if (!terminal_is_live()) return;
  std::lock_guard lock(terminal_mutex);
  auto const now = std::chrono::steady_clock::now();
  if (live_lines_shown > 0 && now - live_line_drawn < std::chrono::milliseconds(100)) return;
  winsize const size = terminal_size();
  // Over what stands there, in one write and without clearing first, so that nothing flickers.
  std::string drawn = to_first_live_line();
  std::istringstream lines(text);
  size_t count = 0;
  for (std::string line; count + 1 < size.ws_row && std::getline(lines, line); ++count)
    drawn += (count > 0 ? "\n" : "") + cut_to(line, size.ws_col - 1U) + "\x1b[K";
  print(drawn + "\x1b[J");
  live_lines_shown = std::max<size_t>(1, count);
  live_line_drawn = now;
}

void end_live_line() {
  std::lock_guard lock(terminal_mutex);
  if (live_lines_shown > 0) print("\n");
  live_lines_shown = 0;
}

}  // namespace isobath
