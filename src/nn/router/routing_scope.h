#pragma once
// Marks the operators that serve routing rather than the block's own work, so that a profile can tell what routing costs.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace isobath {

// Operators that the thread runs during this object's life count as routing, and so do their backward operators. Costs next to nothing
// while no profiler is active.
class RoutingScope {
 public:
  RoutingScope();
  ~RoutingScope();
  RoutingScope(RoutingScope const&) = delete;

  static constexpr char const* name = "isobath::routing";
  // Ranges [first, last) of autograd's sequence numbers that scopes covered since the last call, while a profiler was active.
  static std::vector<std::pair<int64_t, int64_t>> take_sequence_numbers();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isobath
