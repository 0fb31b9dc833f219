#include "data/loader.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <numeric>
#include <thread>

#include "core/error.h"
#include "core/random.h"

namespace isobath {

Loader::Loader(TokenStream const& stream, int64_t length, uint64_t seed, bool ordered, bool isolate_documents)
    : stream_(stream), length_(length), seed_(seed), ordered_(ordered), isolate_(isolate_documents) {
  int64_t const needed = ordered ? 2 : length + 1;
  if (stream.size() < needed) {
    throw Error(ExitCode::data, std::string(ordered ? "the validation text" : "the training text") + " has " +
                                    std::to_string(stream.size()) + " tokens; model.context " + std::to_string(length) +
                                    " needs at least " + std::to_string(needed) + " (more text or a shorter context)");
  }
}

int64_t Loader::samples_per_epoch() const {
  int64_t const targets = stream_.size() - 1;
  return ordered_ ? (targets + length_ - 1) / length_ : targets / length_;
}

Batch Loader::at(int64_t first_sample, int64_t sequences) const {
  int64_t const samples = samples_per_epoch();
  if (first_sample < 0 || sequences < 0) {
    throw Error(ExitCode::other, "no batch of " + std::to_string(sequences) + " sequences from sample " + std::to_string(first_sample));
  }
  Batch batch;
  batch.first_sample = first_sample;
  batch.length = length_;
  batch.isolated = isolate_;
  batch.sequences = sequences;
  if (ordered_) {
    int64_t const whole = (stream_.size() - 1) / length_;  // windows in which every token has a target
    bool const partial = first_sample == whole && samples > whole && sequences > 0;
    batch.sequences = partial ? 1 : std::clamp<int64_t>(whole - first_sample, 0, sequences);
    if (partial) batch.length = (stream_.size() - 1) % length_;
  }
  int64_t const T = batch.length;
  auto const size = static_cast<size_t>(batch.sequences * T);
  batch.tokens.resize(size);
  batch.targets.resize(size);
  batch.positions.resize(size);
  batch.segments.resize(size);
  std::vector<int64_t> window(static_cast<size_t>(T) + 1);
  for (int64_t row = 0; row < batch.sequences; ++row) {
    int64_t const sample = first_sample + row;
    auto const epoch = static_cast<uint64_t>(sample / samples), index = static_cast<uint64_t>(sample % samples);
    uint64_t const key = make_key({hash_text("data order"), seed_, epoch});
    int64_t const number = ordered_ ? sample : static_cast<int64_t>(permute(index, static_cast<uint64_t>(samples), key));
    int64_t const first = length_ * number;
    batch.windows.push_back(number);
    stream_.copy(first, window);

    auto const at = static_cast<size_t>(row * T);
    std::copy_n(window.begin(), T, batch.tokens.begin() + static_cast<int64_t>(at));
    std::copy_n(window.begin() + 1, T, batch.targets.begin() + static_cast<int64_t>(at));
    std::vector<int64_t> const starts = stream_.document_starts_in(first + 1, first + T + 1);
    auto next = starts.begin();
    int32_t segment = 0;
    int64_t origin = 0;
    for (int64_t t = 0; t < T; ++t) {
      if (next != starts.end() && *next == first + t) {
        ++next;
        ++segment;
        origin = isolate_ ? t : 0;
      }
      batch.positions[at + static_cast<size_t>(t)] = t - origin;
      batch.pairs += t - origin + 1;
      batch.segments[at + static_cast<size_t>(t)] = segment;
      // An isolated document does not see the previous one, which cannot predict its first token: that token is no target.
      bool const crosses = next != starts.end() && *next == first + t + 1;
      if (isolate_ && crosses) batch.targets[at + static_cast<size_t>(t)] = ignore_target;
    }
  }
  batch.target_count = static_cast<int64_t>(size) - std::count(batch.targets.begin(), batch.targets.end(), ignore_target);
  return batch;
}

struct Prefetcher::State {
  Windows const& windows;
  int64_t sample, sequences;
  size_t depth;
  std::mutex mutex;
  std::condition_variable not_empty, not_full;
  std::deque<Batch> ready;  // guarded by mutex, as are error and stop
  std::exception_ptr error;
  bool stop = false;
  double wait_seconds = 0;  // time that next() waited
  std::thread thread;

  State(Windows const& w, int64_t first, int64_t n, int d)
      : windows(w), sample(first), sequences(n), depth(static_cast<size_t>(std::max(d, 1))) {}

  void run() {
    try {
      for (;; sample += sequences) {
        Batch batch = windows.at(sample, sequences);
        std::unique_lock lock(mutex);
        not_full.wait(lock, [&] { return stop || ready.size() < depth; });
        if (stop) return;
        ready.push_back(std::move(batch));
        not_empty.notify_one();
      }
    } catch (...) {
      std::lock_guard const lock(mutex);
      error = std::current_exception();
      not_empty.notify_one();
    }
  }
};

Prefetcher::Prefetcher(Windows const& windows, int64_t first_sample, int64_t sequences, int depth)
    : state_(std::make_unique<State>(windows, first_sample, sequences, depth)) {
  state_->thread = std::thread([state = state_.get()] { state->run(); });
}

Prefetcher::~Prefetcher() {
  {
    std::lock_guard const lock(state_->mutex);
    state_->stop = true;
  }
  state_->not_full.notify_one();
  state_->thread.join();
}

Batch Prefetcher::next() {
  auto const begin = std::chrono::steady_clock::now();
  std::unique_lock lock(state_->mutex);
  state_->not_empty.wait(lock, [&] { return !state_->ready.empty() || state_->error; });
  state_->wait_seconds += std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
  if (state_->ready.empty()) std::rethrow_exception(state_->error);
  Batch batch = std::move(state_->ready.front());
  state_->ready.pop_front();
  state_->not_full.notify_one();
  return batch;
}

double Prefetcher::wait_seconds() const { return state_->wait_seconds; }

}  // namespace isobath
