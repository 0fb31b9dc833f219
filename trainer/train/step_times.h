#pragma once
// How long the steps of this process take.

#include <cstdint>
#include <vector>

namespace isobath {

class StepTimes {
 public:
  // Adds a step that took `seconds`. waited: the host waited until the device had finished it. A GPU runs steps long after they are queued,
  // so only the time from one wait to the next is known; the steps in between share it equally.
  void add(double seconds, bool waited);
  double median() const;  // of the last 2000 steps, in seconds; NaN before the first

 private:
  std::vector<double> seconds_;
  int64_t open_steps_ = 0;  // since the last wait
  double open_seconds_ = 0;
};

}  // namespace isobath
