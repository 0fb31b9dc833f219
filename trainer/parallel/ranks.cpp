#include "trainer/parallel/ranks.h"

#include <ATen/ops/cat.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/distributed/c10d/PrefixStore.hpp>

#define USE_C10D_GLOO  // without it the next header is empty
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>

#include <algorithm>
#include <cstdlib>

#include "core/error.h"
#include "nn/backend/backend.h"
#include "nn/backend/plugin.h"

namespace isobath {
namespace {

using Collectives = c10::intrusive_ptr<c10d::Backend>;

// A rank may take long over what only it does, such as writing a checkpoint. Ranks that are gone are noticed sooner, by RankWatch.
constexpr std::chrono::minutes longest_operation{60};

std::string first_words(std::string const& what) { return what.substr(0, what.find('\n')); }

template <typename Call>
auto together(Call const& call) {
  try {
    return call();
  } catch (std::exception const& problem) {
    throw LostRank("lost the connection to another rank: " + first_words(problem.what()));
  }
}

Collectives gloo(Rendezvous const& rendezvous, c10::intrusive_ptr<c10d::Store> const& store) {
  RankPlace const& place = rendezvous.place();
  auto const options = c10d::ProcessGroupGloo::Options::create(longest_operation);
  char const* interface = std::getenv("GLOO_SOCKET_IFNAME");
  options->devices.push_back(interface ? c10d::ProcessGroupGloo::createDeviceForInterface(interface)
                                       : c10d::ProcessGroupGloo::createDeviceForHostname(rendezvous.own_address()));
  return c10::make_intrusive<c10d::ProcessGroupGloo>(c10::make_intrusive<c10d::PrefixStore>("gloo", store), static_cast<int>(place.rank),
                                                     static_cast<int>(place.size), options);
}

Collectives open_nccl(c10::intrusive_ptr<c10d::Store> const& store, RankPlace const& place) {
  auto const open = cuda_plugin()->open_nccl;
  if (open == nullptr)
    throw Error(ExitCode::distributed,
                "several ranks on GPUs need NCCL, and Isobath's CUDA plug-in was built without it (docs/distributed.md)");
  return Collectives::reclaim(open(store.get(), static_cast<int>(place.rank), static_cast<int>(place.size)));
}

}  // namespace

struct Pending::Work {
  c10::intrusive_ptr<c10d::Work> work;
};

void Pending::wait() {
  if (!work_) return;
  together([&] { work_->work->wait(); });
  work_.reset();
}

struct Ranks::Groups {
  Collectives cpu, gpu;
  c10d::Backend& of(at::Tensor const& x) const { return x.is_cpu() ? *cpu : *gpu; }
};

Ranks& one_process() {
  static Ranks alone;
  return alone;
}

Ranks::Ranks() = default;
Ranks::~Ranks() = default;

Ranks::Ranks(RankPlace const& place, double patience) : place_(place) {
  if (!place.alone()) rendezvous_ = std::make_unique<Rendezvous>(place, patience);
}

std::string Ranks::own_name() const { return alone() ? "this process" : rendezvous_->name(rank()); }

void Ranks::open(at::Device device) {
  if (alone()) return;
  auto const store = c10::intrusive_ptr<c10d::Store>::unsafe_reclaim_from_nonowning(rendezvous_->store().store());
  groups_ = std::make_unique<Groups>();
  together([&] { groups_->cpu = gloo(*rendezvous_, store); });
  if (device.is_cuda()) groups_->gpu = open_nccl(store, place_);
}

namespace {

Pending started(c10::intrusive_ptr<c10d::Work> work) { return Pending(std::make_shared<Pending::Work>(Pending::Work{std::move(work)})); }

Pending start_reduction(c10d::Backend& backend, at::Tensor const& x, c10d::ReduceOp const& operation) {
  std::vector<at::Tensor> tensors{x};
  c10d::AllreduceOptions options;
  options.reduceOp = operation;
  return together([&] { return started(backend.allreduce(tensors, options)); });
}

}  // namespace

Pending Ranks::start_sum(at::Tensor const& x) const {
  return alone() ? Pending() : start_reduction(groups_->of(x), x, c10d::ReduceOp::SUM);
}

Pending Ranks::start_maximum(at::Tensor const& x) const {
  return alone() ? Pending() : start_reduction(groups_->of(x), x, c10d::ReduceOp::MAX);
}

Pending Ranks::start_scatter_sum(at::Tensor const& all_X, at::Tensor const& own_P) const {
  at::Tensor input = all_X, output = own_P;
  if (alone()) {
    output.copy_(input);
    return {};
  }
  return together([&] { return started(groups_->of(input)._reduce_scatter_base(output, input, c10d::ReduceScatterOptions())); });
}

Pending Ranks::start_gather(at::Tensor const& own_P, at::Tensor const& all_X) const {
  at::Tensor input = own_P, output = all_X;
  if (alone()) {
    output.copy_(input);
    return {};
  }
  return together([&] { return started(groups_->of(input)._allgather_base(output, input, c10d::AllgatherOptions())); });
}

at::Tensor Ranks::joined(at::Tensor const& x) const {
  if (alone()) return x;
  at::Tensor const lengths = at::zeros({size()}, at::kLong);
  lengths[rank()].fill_(x.size(0));
  sum(lengths);
  int64_t const longest = lengths.max().item<int64_t>();
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = longest;
  at::Tensor const own = at::zeros(shape, x.options());
  own.narrow(0, 0, x.size(0)).copy_(x);
  shape[0] = longest * size();
  at::Tensor const all = at::zeros(shape, x.options());
  if (longest > 0) start_gather(own, all).wait();
  std::vector<at::Tensor> parts;
  for (int64_t r = 0; r < size(); ++r) parts.push_back(all.narrow(0, r * longest, lengths[r].item<int64_t>()));
  return at::cat(parts);
}

AcrossRanks Ranks::across() const {
  if (alone()) return {};
  return {rank(), size(), [this](at::Tensor const& x) { return joined(x); }};
}

std::vector<std::string> Ranks::collect(std::string const& mine) const {
  return alone() ? std::vector<std::string>{mine} : rendezvous_->collect(mine);
}

}  // namespace isobath
