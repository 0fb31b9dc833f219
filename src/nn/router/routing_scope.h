#pragma once
// Marks what a routed block does besides the block's own work, so that a profile can say what routing costs.

#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

namespace isobath {

// While it lives, the thread's operators are routing's; so are the backward operators of what they leave to autograd. Costs next to nothing
// while no profiler listens.
class RoutingScope {
 public:
  RoutingScope();
  ~RoutingScope();
  RoutingScope(RoutingScope const&) = delete;

  static constexpr char const* name = "isobath::routing";
  // Ranges [first, last) of autograd's sequence numbers that scopes covered since the last call, while a profiler listened.
  static std::vector<std::pair<int64_t, int64_t>> take_sequence_numbers();

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace isobath
