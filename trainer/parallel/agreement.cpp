#include "trainer/parallel/agreement.h"

#include <ATen/ops/full.h>

#include <algorithm>
#include <map>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "core/stop.h"
#include "nn/device.h"

namespace isobath {
namespace {

std::string names(Ranks const& ranks, std::vector<int64_t> const& numbers) {
  std::string text;
  for (int64_t const rank : numbers) text += (text.empty() ? "" : ", ") + ranks.rendezvous().name(rank);
  return text;
}

// The ranks of each value; the value that most have (of equally many, the one that rank 0 has) comes first.
std::vector<std::pair<std::string, std::vector<int64_t>>> by_value(std::vector<std::string> const& values) {
  std::vector<std::pair<std::string, std::vector<int64_t>>> groups;
  for (int64_t rank = 0; rank < std::ssize(values); ++rank) {
    std::string const& value = values[static_cast<size_t>(rank)];
    auto found = std::find_if(groups.begin(), groups.end(), [&](auto const& group) { return group.first == value; });
    if (found == groups.end()) found = groups.insert(groups.end(), {value, {}});
    found->second.push_back(rank);
  }
  std::stable_sort(groups.begin(), groups.end(), [](auto const& a, auto const& b) { return a.second.size() > b.second.size(); });
  return groups;
}

}  // namespace

void check_same(Ranks const& ranks, std::string const& what, std::string const& mine) {
  if (ranks.alone()) return;
  auto const groups = by_value(ranks.collect(mine));
  if (groups.size() == 1) return;
  std::string message = "the ranks do not have the same " + what + ":";
  for (auto const& [value, of_ranks] : groups) message += "\n  " + names(ranks, of_ranks) + ": " + value;
  throw Error(ExitCode::distributed, message);
}

int StopAgreement::before_step() {
  if (ranks_.alone()) return stop_requested();
  pending_.wait();
  int const agreed = asked_.defined() ? static_cast<int>(asked_.item<int64_t>()) : 0;
  asked_ = at::full({1}, stop_requested(), at::kLong);
  pending_ = ranks_.start_maximum(asked_);
  return agreed;
}

int StopAgreement::largest(int signal) {
  at::Tensor const number = at::full({1}, signal, at::kLong);
  ranks_.start_maximum(number).wait();
  return static_cast<int>(number.item<int64_t>());
}

std::string rank_device(std::string const& device, Ranks const& ranks) {
  if (ranks.alone() || device == "cpu") return device;
  if (device.starts_with("cuda:"))
    throw Error(ExitCode::config,
                "device: " + device + " names one GPU for " + std::to_string(ranks.size()) + " ranks: write cuda, and each takes its own");
  if (device == "auto" && !open_device(device).is_cuda()) return "cpu";
  // srun --gpus-per-task=1 shows each task its own GPU alone.
  return "cuda:" + std::to_string(visible_gpus() == 1 ? 0 : ranks.rendezvous().local_rank());
}

std::string kind_of(at::Device device) { return device.is_cpu() ? "CPU" : "GPU"; }

void check_weights(Ranks const& ranks, std::vector<at::Tensor> const& parameters, int64_t step) {
  if (ranks.alone()) return;
  std::string sums;
  for (at::Tensor const& parameter : parameters) {
    at::Tensor const values = parameter.detach().cpu().contiguous();
    sums += hex(checksum({static_cast<std::byte const*>(values.const_data_ptr()), static_cast<size_t>(values.nbytes())}));
  }
  auto const groups = by_value(ranks.collect(hex(hash_text(sums))));
  if (groups.size() == 1) return;
  std::string others;
  for (size_t i = 1; i < groups.size(); ++i) others += (others.empty() ? "" : ", ") + names(ranks, groups[i].second);
  throw Error(ExitCode::distributed, "after step " + std::to_string(step) + " the weights of " + others + " are not those of " +
                                         names(ranks, groups[0].second) + ": what they read, their memory or their sums went wrong");
}

}  // namespace isobath
