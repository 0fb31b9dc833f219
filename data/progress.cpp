#include "data/progress.h"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>

#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/units.h"

namespace isobath {

using Clock = std::chrono::steady_clock;

Progress::Progress(std::string what, int64_t total_bytes)
    : what_(std::move(what)), total_(total_bytes), begin_(Clock::now()), spoke_(begin_) {}

Progress::~Progress() { end_live_line(); }

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

std::string Progress::rate() const { return fmt::format("{:.1f} MB/s", static_cast<double>(bytes_) / 1e6 / std::max(seconds(), 1e-9)); }

void Progress::add(int64_t bytes) {
  if (int const signal = stop_requested()) {
    throw Error(signal == SIGTERM ? ExitCode::terminated : ExitCode::interrupted, "stopped while " + what_ + "; nothing half-done is kept");
  }
  bytes_ += bytes;
  auto const now = Clock::now();
  auto const pause = terminal_is_live() ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10'000);
  if (now - spoke_ < pause) return;
  spoke_ = now;
  std::string line = what_ + " " + format_bytes(static_cast<double>(bytes_));
  if (total_ > 0) {
    double const share = static_cast<double>(bytes_) / static_cast<double>(total_);
    line +=
        " of " + format_bytes(static_cast<double>(total_)) + " | eta " + format_seconds(seconds() * (1 - share) / std::max(share, 1e-9));
  }
  line += " | " + rate();
  terminal_is_live() ? live_line(line) : log_info(line);
}

}  // namespace isobath
