#include "trainer/train/step_times.h"

#include "trainer/report/statistics.h"

namespace isobath {

namespace {

constexpr std::ptrdiff_t most_steps = 2000;

}  // namespace

void StepTimes::add(double seconds, bool waited) {
  open_steps_ += 1;
  open_seconds_ += seconds;
  if (!waited) return;
  seconds_.insert(seconds_.end(), static_cast<size_t>(open_steps_), open_seconds_ / static_cast<double>(open_steps_));
  if (std::ssize(seconds_) > most_steps) seconds_.erase(seconds_.begin(), seconds_.end() - most_steps);
  open_steps_ = 0;
  open_seconds_ = 0;
}

double StepTimes::median() const { return isobath::median(seconds_); }

}  // namespace isobath
