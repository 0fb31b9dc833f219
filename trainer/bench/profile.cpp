#include "trainer/bench/profile.h"

#include <ATen/record_function.h>
#include <kineto/ActivityType.h>
#include <torch/csrc/autograd/profiler_kineto.h>

#include <algorithm>
#include <cstdlib>
#include <map>
#include <unordered_map>

#include "nn/device.h"
#include "nn/router/routing_scope.h"

namespace isobath {

namespace {

using torch::autograd::profiler::KinetoEvent;

constexpr char const* whole = "isobath::work";
constexpr std::string_view backward_prefix = "autograd::engine::evaluate_function: ";

// One operator on a host thread.
struct HostEvent {
  KinetoEvent const* event;
  double own_seconds;
  bool routing;
};

bool is_kernel(KinetoEvent const& event) {
  switch (static_cast<libkineto::ActivityType>(event.activityType())) {
    case libkineto::ActivityType::CONCURRENT_KERNEL:
    case libkineto::ActivityType::GPU_MEMCPY:
    case libkineto::ActivityType::GPU_MEMSET:
      return true;
    default:
      return false;
  }
}

bool is_wait(KinetoEvent const& event) {
  auto const type = static_cast<libkineto::ActivityType>(event.activityType());
  bool const call = type == libkineto::ActivityType::CUDA_RUNTIME || type == libkineto::ActivityType::CUDA_DRIVER;
  return call && event.name().find("Synchronize") != std::string::npos;
}

bool is_operator(KinetoEvent const& event) {
  auto const type = static_cast<libkineto::ActivityType>(event.activityType());
  return type == libkineto::ActivityType::CPU_OP || type == libkineto::ActivityType::USER_ANNOTATION;
}

// Every operator with its own time, and whether it belongs to routing: it ran inside a RoutingScope, or autograd ran it as the backward
// pass of an operator that did.
std::vector<HostEvent> host_events(std::vector<KinetoEvent> const& events, std::vector<std::pair<int64_t, int64_t>> const& routing_ranges) {
  std::map<uint64_t, std::vector<KinetoEvent const*>> threads;
  for (KinetoEvent const& event : events)
    if (is_operator(event)) threads[event.startThreadId()].push_back(&event);

  auto const opens_routing = [&](KinetoEvent const& event) {
    if (event.name() == RoutingScope::name) return true;
    int64_t const number = event.sequenceNr();
    return event.name().starts_with(backward_prefix) && std::any_of(routing_ranges.begin(), routing_ranges.end(), [&](auto const& range) {
             return number >= range.first && number < range.second;
           });
  };
  std::vector<HostEvent> all;
  for (auto& [id, thread] : threads) {
    std::stable_sort(thread.begin(), thread.end(), [](KinetoEvent const* a, KinetoEvent const* b) {
      return a->startNs() != b->startNs() ? a->startNs() < b->startNs() : a->endNs() > b->endNs();
    });
    std::vector<size_t> open;  // enclosing operators, outermost first
    for (KinetoEvent const* event : thread) {
      while (!open.empty() && all[open.back()].event->endNs() <= event->startNs()) open.pop_back();
      double const seconds = 1e-9 * static_cast<double>(event->durationNs());
      if (!open.empty()) all[open.back()].own_seconds -= seconds;
      bool const inherited = !open.empty() && all[open.back()].routing;
      all.push_back({event, seconds, inherited || opens_routing(*event)});
      open.push_back(all.size() - 1);
    }
  }
  return all;
}

// "torch::autograd::CppNode<isobath::ops::(anonymous namespace)::Linear>" is the backward pass of ops::linear: "Linear backward".
std::string readable(std::string const& name) {
  size_t const node = name.find("CppNode<");
  if (node == std::string::npos || name.starts_with(backward_prefix)) return name;
  size_t const colon = name.rfind(':');
  return name.substr(colon + 1, name.size() - colon - 2) + " backward";
}

}  // namespace

Profile profile(at::Device device, std::function<void()> const& work) {
  namespace impl = torch::profiler::impl;
  std::set<impl::ActivityType> activities{impl::ActivityType::CPU};
  if (device.is_cuda()) activities.insert(impl::ActivityType::CUDA);
  impl::ProfilerConfig const config(impl::ProfilerState::KINETO);
  setenv("KINETO_LOG_LEVEL", "5", /*overwrite=*/0);  // Kineto would log a missing GPU as an error
  synchronize(device);
  RoutingScope::take_sequence_numbers();
  torch::autograd::profiler::prepareProfiler(config, activities);
  torch::autograd::profiler::enableProfiler(config, activities);
  try {
    RECORD_FUNCTION(whole, c10::ArrayRef<c10::IValue const>());
    work();
    synchronize(device);
  } catch (...) {
    torch::autograd::profiler::disableProfiler();
    throw;
  }
  auto const result = torch::autograd::profiler::disableProfiler();
  std::vector<HostEvent> const hosts = host_events(result->events(), RoutingScope::take_sequence_numbers());

  Profile profile;
  std::map<std::pair<std::string, std::string>, ProfileEntry> entries;
  auto const add = [&](std::string const& name, std::string const& part, double seconds) {
    ProfileEntry& entry = entries[{name, part}];
    entry.name = name;
    entry.part = part;
    entry.seconds += seconds;
    entry.calls += 1;
    profile.seconds += seconds;
    if (part == "routing") profile.routing_seconds += seconds;
    if (part == "unknown") profile.unknown_seconds += seconds;
  };
  auto const part_of = [](bool routing) { return routing ? "routing" : "model"; };
  if (device.is_cuda()) {
    std::unordered_map<uint64_t, bool> routing_of;  // by the operator's correlation number
    for (HostEvent const& host : hosts) routing_of[host.event->correlationId()] = host.routing;
    for (KinetoEvent const& event : result->events()) {
      if (is_wait(event)) ++profile.host_waits;
      if (!is_kernel(event)) continue;
      auto const caller = routing_of.find(event.linkedCorrelationId());
      add(event.name(), caller == routing_of.end() ? "unknown" : part_of(caller->second), 1e-9 * static_cast<double>(event.durationNs()));
    }
    profile.host_waits = std::max<int64_t>(0, profile.host_waits - 1);
  } else {
    for (HostEvent const& host : hosts) add(readable(host.event->name()), part_of(host.routing), host.own_seconds);
  }
  for (auto& [key, entry] : entries) profile.entries.push_back(std::move(entry));
  std::sort(profile.entries.begin(), profile.entries.end(), [](auto const& a, auto const& b) { return a.seconds > b.seconds; });
  return profile;
}

}  // namespace isobath
