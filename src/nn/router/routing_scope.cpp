#include "nn/router/routing_scope.h"

#include <ATen/SequenceNumber.h>
#include <ATen/record_function.h>

namespace isobath {

namespace {

std::vector<std::pair<int64_t, int64_t>>& covered_ranges() {
  static thread_local std::vector<std::pair<int64_t, int64_t>> ranges;
  return ranges;
}

}  // namespace

struct RoutingScope::State {
  State() : record(at::RecordScope::FUNCTION), first(static_cast<int64_t>(at::sequence_number::peek())) { record.before(name); }
  ~State() { covered_ranges().emplace_back(first, static_cast<int64_t>(at::sequence_number::peek())); }

  at::RecordFunction record;
  int64_t first;
};

RoutingScope::RoutingScope() {
  if (at::hasCallbacks()) state_ = std::make_unique<State>();
}

RoutingScope::~RoutingScope() = default;

std::vector<std::pair<int64_t, int64_t>> RoutingScope::take_sequence_numbers() { return std::exchange(covered_ranges(), {}); }

}  // namespace isobath
