#include "trainer/parallel/gradient_exchange.h"

#include <ATen/core/grad_mode.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>
#include <torch/csrc/autograd/function_hook.h>
#include <torch/csrc/autograd/variable.h>

#include <algorithm>
#include <chrono>
#include <functional>

namespace isobath {
namespace {

using Clock = std::chrono::steady_clock;

struct Entry {
  at::Tensor parameter;
  int64_t first = 0;          // of its elements in the bucket's buffer
  int64_t number = 0;         // counted over all buckets
  bool is_complete = false;   // the step's last backward pass has added its gradient to the buffer
  bool has_gradient = false;  // on this rank
};

// The part of a parameter that lies in this rank's piece of a bucket.
struct OwnPart {
  at::Tensor values;
  int64_t first = 0;   // in the piece
  int64_t number = 0;  // of the parameter
};

// Parameters of one group whose gradients are summed together.
struct Bucket {
  size_t group = 0;
  int64_t earliest = 0;  // place in the group of its first parameter, whose gradient the backward pass completes last
  std::vector<Entry> entries;
  std::vector<TensorPart> parts;  // the entries' names and shapes
  at::Tensor gradients_X;         // flat; its length is a multiple of the number of ranks
  at::Tensor parameters_X;        // sharded: the parameters' memory
  at::Tensor masters_P;           // sharded, where parameters_X has a narrower type: the values of this rank's piece in full
  at::Tensor own_gradients_P;     // sharded: the sums of this rank's piece
  std::vector<OwnPart> own_parts;
  size_t complete = 0;  // how many gradients are
  Pending pending;

  bool is_narrow() const { return masters_P.defined(); }
  // Lets the parameters be parts of `flat_X` from now on.
  void place_parameters(at::Tensor const& flat_X) {
    for (Entry& entry : entries)
      entry.parameter.set_data(flat_X.narrow(0, entry.first, entry.parameter.numel()).view(entry.parameter.sizes()));
  }
};

int64_t bytes_of(at::Tensor const& x) { return x.numel() * static_cast<int64_t>(x.element_size()); }

// Cuts each group into buckets from its end, since the backward pass completes the last layers' gradients first.
std::vector<Bucket> make_buckets(std::vector<ParameterGroup> const& groups, int64_t bucket_bytes) {
  std::vector<Bucket> buckets;
  for (size_t group = 0; group < groups.size(); ++group) {
    auto const& parameters = groups[group].parameters;
    int64_t bytes = 0;
    for (size_t i = parameters.size(); i-- > 0;) {
      if (i + 1 == parameters.size() || bytes >= bucket_bytes) {
        buckets.emplace_back().group = group;
        bytes = 0;
      }
      Bucket& bucket = buckets.back();
      bucket.earliest = static_cast<int64_t>(i);
      bucket.entries.push_back({parameters[i].values});
      bucket.parts.push_back(parameters[i]);
      bytes += bytes_of(parameters[i].values);
    }
  }
  return buckets;
}

class WhenComplete : public torch::autograd::PostAccumulateGradHook {
 public:
  explicit WhenComplete(std::function<void()> call) : call_(std::move(call)) {}
  void operator()(torch::autograd::Variable const&) override { call_(); }

 private:
  std::function<void()> call_;
};

}  // namespace

struct GradientExchange::State {
  Ranks const& ranks;
  std::vector<ParameterGroup> groups, own_groups;
  bool shards = false, armed = false;
  std::vector<Bucket> buckets;  // in the order in which they are sent, the same on every rank
  size_t next = 0;              // the first bucket that is not sent off
  int64_t parameters = 0;
  double wait_seconds = 0;

  State(Ranks const& r, std::vector<ParameterGroup> g, ParallelConfig const& parallel)
      : ranks(r),
        groups(std::move(g)),
        shards(parallel.shard == Sharding::optimizer),
        buckets(make_buckets(groups, parallel.bucket_bytes)) {}

  void lay_out(Bucket& bucket);
  void find_own_parts(Bucket& bucket);
  at::Tensor own_piece(at::Tensor const& flat_X) const { return flat_X.chunk(ranks.size())[static_cast<size_t>(ranks.rank())]; }
  void add_gradient(Bucket& bucket, Entry& entry);
  void complete(Bucket& bucket, Entry& entry);
  void send_complete_buckets();
  void send(Bucket& bucket);
  void take(Bucket& bucket, std::vector<bool> const& has_gradient);
  std::vector<bool> sum_values(at::Tensor const& values_V);
  void wait(Pending& pending) {
    Clock::time_point const start = Clock::now();
    pending.wait();
    wait_seconds += std::chrono::duration<double>(Clock::now() - start).count();
  }
};

void GradientExchange::State::lay_out(Bucket& bucket) {
  int64_t length = 0;
  for (Entry& entry : bucket.entries) {
    entry.first = length;
    entry.number = parameters++;
    length += entry.parameter.numel();
  }
  int64_t const padded = (length + ranks.size() - 1) / ranks.size() * ranks.size();
  at::TensorOptions const options = bucket.entries.front().parameter.options().requires_grad(false);
  bucket.gradients_X = at::zeros({padded}, options);
  if (!shards) return;
  at::Tensor const values_X = at::zeros({padded}, options);
  for (Entry const& entry : bucket.entries) values_X.narrow(0, entry.first, entry.parameter.numel()).copy_(entry.parameter.reshape({-1}));
  bucket.parameters_X = values_X.to(groups[bucket.group].compute_type.value_or(values_X.scalar_type()));
  if (!bucket.parameters_X.is_same(values_X)) bucket.masters_P = own_piece(values_X).clone();
  bucket.place_parameters(bucket.parameters_X);
  bucket.own_gradients_P = at::zeros({padded / ranks.size()}, options);
  find_own_parts(bucket);
}

// The parts of the bucket's parameters that lie in this rank's piece of its buffer.
void GradientExchange::State::find_own_parts(Bucket& bucket) {
  int64_t const length = bucket.own_gradients_P.numel(), begin = ranks.rank() * length;
  for (size_t i = 0; i < bucket.entries.size(); ++i) {
    Entry const& entry = bucket.entries[i];
    int64_t const from = std::max(begin, entry.first), to = std::min(begin + length, entry.first + entry.parameter.numel());
    if (from >= to) continue;
    TensorPart part = bucket.parts[i];
    part.first = from - entry.first;
    part.values = bucket.is_narrow() ? bucket.masters_P.narrow(0, from - begin, to - from) : bucket.parameters_X.narrow(0, from, to - from);
    bucket.own_parts.push_back({part.values, from - begin, entry.number});
    own_groups[bucket.group].parameters.push_back(std::move(part));
  }
}

// Moves what one backward pass has found into the buffer: there it is summed over micro-batches, in fp32 whatever the parameter's type.
void GradientExchange::State::add_gradient(Bucket& bucket, Entry& entry) {
  at::Tensor const gradient = entry.parameter.grad();
  if (!gradient.defined()) return;
  at::NoGradGuard const no_grad;
  at::Tensor const place = bucket.gradients_X.narrow(0, entry.first, entry.parameter.numel());
  entry.has_gradient ? place.add_(gradient.reshape({-1})) : place.copy_(gradient.reshape({-1}));
  entry.has_gradient = true;
  entry.parameter.mutable_grad() = at::Tensor();
}

void GradientExchange::State::complete(Bucket& bucket, Entry& entry) {
  if (!entry.has_gradient) bucket.gradients_X.narrow(0, entry.first, entry.parameter.numel()).zero_();
  entry.is_complete = true;
  ++bucket.complete;
}

// In their order, for the ranks' calls have to match although their passes may complete gradients in different orders.
void GradientExchange::State::send_complete_buckets() {
  while (next < buckets.size() && buckets[next].complete == buckets[next].entries.size()) send(buckets[next++]);
}

void GradientExchange::State::send(Bucket& bucket) {
  bucket.pending = shards ? ranks.start_scatter_sum(bucket.gradients_X, bucket.own_gradients_P) : ranks.start_sum(bucket.gradients_X);
}

// has_gradient: of each parameter, whether any rank has one.
void GradientExchange::State::take(Bucket& bucket, std::vector<bool> const& has_gradient) {
  wait(bucket.pending);
  bucket.complete = 0;
  for (Entry& entry : bucket.entries) {
    entry.is_complete = false;
    bool const has = !shards && has_gradient[static_cast<size_t>(entry.number)];
    entry.parameter.mutable_grad() =
        has ? bucket.gradients_X.narrow(0, entry.first, entry.parameter.numel()).view_as(entry.parameter) : at::Tensor();
  }
  for (OwnPart& part : bucket.own_parts)
    part.values.mutable_grad() =
        has_gradient[static_cast<size_t>(part.number)] ? bucket.own_gradients_P.narrow(0, part.first, part.values.numel()) : at::Tensor();
}

GradientExchange::GradientExchange(Ranks const& ranks, std::vector<ParameterGroup> groups, ParallelConfig const& parallel)
    : state_(std::make_unique<State>(ranks, std::move(groups), parallel)) {
  at::NoGradGuard const no_grad;
  State& state = *state_;
  state.own_groups = state.groups;
  if (state.shards)
    for (ParameterGroup& group : state.own_groups) group.parameters.clear();
  std::stable_sort(state.buckets.begin(), state.buckets.end(), [](Bucket const& a, Bucket const& b) { return a.earliest > b.earliest; });
  for (Bucket& bucket : state.buckets) {
    state.lay_out(bucket);
    for (Entry& entry : bucket.entries) {
      auto const complete = [&state, &bucket, &entry] {
        state.add_gradient(bucket, entry);
        if (!state.armed) return;
        state.complete(bucket, entry);
        state.send_complete_buckets();
      };
      torch::autograd::impl::set_post_acc_grad_hooks(entry.parameter, std::make_unique<WhenComplete>(complete));
    }
  }
}

GradientExchange::~GradientExchange() {
  for (Bucket& bucket : state_->buckets)
    for (Entry& entry : bucket.entries) torch::autograd::impl::set_post_acc_grad_hooks(entry.parameter, nullptr);
}

std::vector<ParameterGroup> const& GradientExchange::own_groups() const { return state_->own_groups; }

bool GradientExchange::shards() const { return state_->shards; }

double GradientExchange::wait_seconds() const { return state_->wait_seconds; }

void GradientExchange::zero_grad() {
  for (Bucket& bucket : state_->buckets)
    for (Entry& entry : bucket.entries) {
      entry.parameter.mutable_grad() = at::Tensor();
      entry.has_gradient = false;
    }
}

void GradientExchange::arm() { state_->armed = true; }

// Sums values_V over the ranks, and with them which parameters have a gradient.
std::vector<bool> GradientExchange::State::sum_values(at::Tensor const& values_V) {
  std::vector<double> has(static_cast<size_t>(parameters));
  for (Bucket const& bucket : buckets)
    for (Entry const& entry : bucket.entries) has[static_cast<size_t>(entry.number)] = entry.has_gradient ? 1 : 0;
  bool const all_here = std::count(has.begin(), has.end(), 0.0) == 0;
  at::Tensor const has_P = all_here ? at::ones({parameters}, values_V.options()) : at::tensor(has, at::kDouble).to(values_V.device());
  at::Tensor joint = at::cat({values_V, has_P});
  Pending pending = ranks.start_sum(joint);
  wait(pending);
  values_V.copy_(joint.narrow(0, 0, values_V.numel()));
  if (all_here) return std::vector<bool>(has.size(), true);  // without a look at the device
  joint = joint.narrow(0, values_V.numel(), parameters).cpu();
  double const* counts = joint.const_data_ptr<double>();
  std::vector<bool> somewhere;
  for (int64_t i = 0; i < parameters; ++i) somewhere.push_back(counts[i] > 0);
  return somewhere;
}

void GradientExchange::finish(at::Tensor const& values_V) {
  at::NoGradGuard const no_grad;
  State& state = *state_;
  state.armed = false;
  for (Bucket& bucket : state.buckets)
    for (Entry& entry : bucket.entries)
      if (!entry.is_complete) state.complete(bucket, entry);
  state.send_complete_buckets();
  std::vector<bool> const has_gradient = state.sum_values(values_V);
  for (Bucket& bucket : state.buckets) state.take(bucket, has_gradient);
  state.next = 0;
}

void GradientExchange::gather_parameters() {
  State& state = *state_;
  if (!state.shards) return;
  at::NoGradGuard const no_grad;
  for (Bucket& bucket : state.buckets) {
    at::Tensor const own_P =
        bucket.is_narrow() ? bucket.masters_P.to(bucket.parameters_X.scalar_type()) : state.own_piece(bucket.parameters_X).clone();
    bucket.pending = state.ranks.start_gather(own_P, bucket.parameters_X);
  }
  for (Bucket& bucket : state.buckets) state.wait(bucket.pending);
}

// The gradients' buffers are free between steps and of the right size.
WholeWeights::WholeWeights(GradientExchange* exchange) : exchange_(exchange) {
  if (!exchange_) return;
  at::NoGradGuard const no_grad;
  GradientExchange::State& state = *exchange_->state_;
  for (Bucket& bucket : state.buckets)
    if (bucket.is_narrow()) bucket.pending = state.ranks.start_gather(bucket.masters_P, bucket.gradients_X);
  for (Bucket& bucket : state.buckets) {
    if (!bucket.is_narrow()) continue;
    bucket.pending.wait();
    bucket.place_parameters(bucket.gradients_X);
  }
}

WholeWeights::~WholeWeights() {
  if (!exchange_) return;
  at::NoGradGuard const no_grad;
  GradientExchange::State& state = *exchange_->state_;
  for (Bucket& bucket : state.buckets) {
    if (!bucket.is_narrow()) continue;
    bucket.masters_P.copy_(state.own_piece(bucket.gradients_X));
    bucket.parameters_X.copy_(bucket.gradients_X);
    bucket.place_parameters(bucket.parameters_X);
  }
}

}  // namespace isobath
