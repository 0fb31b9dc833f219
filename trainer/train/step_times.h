#pragma once
// How long the steps of this process take.

#include <cstdint>
#include <vector>

namespace isobath {

class StepTimes {
 public:
  // One more step took `seconds`. `waited`: its device had finished it by then. A GPU is asked for steps long before it does them, so only
  // the time from one wait to the next is known; the steps between share it equally.
  void add(double seconds, bool waited);
  double median() const;  // of the last 2000 steps, in seconds; NaN before the first

 private:
  std::vector<double> seconds_;
  int64_t open_steps_ = 0;  // since the last wait
  double open_seconds_ = 0;
};

}  // namespace isobath
