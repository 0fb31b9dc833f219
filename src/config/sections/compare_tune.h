#pragma once
// `compare.tune`: settings that every arm tries out before the comparison.

#include <cstdint>
#include <map>
#include <string>
#include <vector>

namespace isobath {

// `train.lr: [1e-3, 2e-3, 4e-3]`
struct TunedKey {
  std::string path;
  std::vector<std::string> values;  // YAML text of each
};

struct TuneConfig {
  std::vector<TunedKey> keys;  // empty: nothing is tuned
  int64_t trials = 0;          // settings that every arm tries; 0: all combinations
  std::vector<int64_t> seeds{101};
  double share = 0.1;  // of the run's budget, for each trial
  bool extend = false;
  std::vector<std::string> arms;                 // that are tuned; empty: all but those of `choice_of`
  std::map<std::string, std::string> choice_of;  // by arm: the tuned arm whose choice it takes
  bool tunes(std::string const& arm) const;
  bool is_on() const { return !keys.empty(); }
};

}  // namespace isobath
