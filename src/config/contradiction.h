#pragma once
// Contradictions between keys, and functions that look for them.

#include <functional>
#include <string>
#include <vector>

namespace isobath {

struct Config;

struct Contradiction {
  std::vector<std::string> paths;  // the keys involved, the one to point at first
  std::string message;
};

// Adds what it finds to the list.
using ConfigCheck = std::function<void(Config const&, std::vector<Contradiction>&)>;

}  // namespace isobath
