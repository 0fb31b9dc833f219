#pragma once
// Notices that another rank is gone: dead, stopped, or cut off. The others would wait for it for ever.

#include <memory>
#include <string>

#include "trainer/parallel/ranks.h"

namespace isobath {

// Threads that beat in the store while this lives. Rank 0 looks at every rank's beats, every other rank at those of rank 0. Once a rank is
// found silent for `timeout` seconds, or one says that it fails, all others print why and leave with exit code 8, whatever they are
// waiting for.
class RankWatch {
 public:
  explicit RankWatch(Ranks const& ranks, double timeout = 60);
  ~RankWatch();  // this rank has ended well

  void set_timeout(double seconds);
  // Tells the others that this rank ends with an error, and why; returns when they have had time to hear it. False: rank 0 has failed for
  // the same reason, and says so.
  bool tell_failure(std::string const& why);
  // After a lost connection: finds out whose fault it was and leaves with exit code 8, naming the rank. Returns when all others are alive.
  void find_lost_rank();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isobath
