#include "data/progress.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/units.h"

namespace isobath {

using Clock = std::chrono::steady_clock;

Progress::Progress(std::string what, int64_t total, Counts counts)
    : what_(std::move(what)), counts_(counts), total_(total), begin_(Clock::now()), spoke_(begin_) {}

Progress::~Progress() { end_live_line(); }

double Progress::seconds() const { return std::chrono::duration<double>(Clock::now() - begin_).count(); }

std::string Progress::amount(double count) const {
  return counts_ == Counts::bytes ? format_bytes(count) : format_si(count) + (counts_ == Counts::items ? " items" : " windows");
}

std::string Progress::rate() const {
  double const per_s = static_cast<double>(done_) / std::max(seconds(), 1e-9);
  return counts_ == Counts::bytes ? fmt::format("{:.1f} MB/s", per_s / 1e6) : amount(per_s) + "/s";
}

void Progress::add(int64_t done) {
  if (int const signal = stop_requested()) throw Stopped(signal, "stopped while " + what_ + "; nothing half-done is kept");
  advance(done);
}

void Progress::advance(int64_t done) {
  done_ += done;
  auto const now = Clock::now();
  auto const pause = terminal_is_live() ? std::chrono::milliseconds(100) : std::chrono::milliseconds(10'000);
  if (now - spoke_ < pause) return;
  spoke_ = now;
  std::string line = what_ + " " + amount(static_cast<double>(done_));
  if (total_ > 0) {
    double const share = static_cast<double>(done_) / static_cast<double>(total_);
    line += " of " + amount(static_cast<double>(total_)) + " | eta " + format_seconds(seconds() * (1 - share) / std::max(share, 1e-9));
  }
  line += " | " + rate();
  terminal_is_live() ? live_line(line) : log_info(line);
}

}  // namespace isobath
