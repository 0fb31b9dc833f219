#include "data/tokenizer/parallel_encoder.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <exception>
#include <mutex>
#include <string_view>
#include <thread>

namespace isobath {
namespace {

constexpr size_t job_bytes = 256 << 10;  // large enough to make the cost of locking negligible
constexpr size_t most_bytes = 64 << 20;  // limit on text that is queued or being encoded

// A part of one document.
struct Item {
  int group = 0;
  std::shared_ptr<std::string const> document;
  std::string_view text;
  bool last = false;  // the last part of its document
  std::vector<int32_t> ids;
};

struct Job {
  std::vector<Item> items;
  size_t bytes = 0;
  bool done = false;
  std::exception_ptr error;
};

}  // namespace

struct ParallelEncoder::State {
  Tokenizer const& tokenizer;
  Sink sink;
  std::mutex mutex;
  std::condition_variable work, done;
  std::deque<std::shared_ptr<Job>> waiting;    // jobs that no thread has taken; guarded by mutex
  bool stop = false;                           // guarded by mutex
  std::deque<std::shared_ptr<Job>> under_way;  // jobs sent and not handed over, in order; only the submitting thread uses it
  size_t bytes_under_way = 0;
  std::shared_ptr<Job> open = std::make_shared<Job>();  // the job that submit() fills
  std::vector<int32_t> ids;                             // of the document being handed over
  std::vector<std::thread> threads;

  State(Tokenizer const& t, Sink s) : tokenizer(t), sink(std::move(s)) {}

  void run() {
    for (;;) {
      std::shared_ptr<Job> job;
      {
        std::unique_lock lock(mutex);
        work.wait(lock, [&] { return stop || !waiting.empty(); });
        if (stop) return;
        job = std::move(waiting.front());
        waiting.pop_front();
      }
      try {
        for (Item& item : job->items) item.ids = tokenizer.encode(item.text);
      } catch (...) {
        job->error = std::current_exception();
      }
      std::lock_guard const lock(mutex);
      job->done = true;
      done.notify_one();
    }
  }

  void send() {
    if (open->items.empty()) return;
    bytes_under_way += open->bytes;
    under_way.push_back(open);
    std::lock_guard const lock(mutex);
    waiting.push_back(std::move(open));
    open = std::make_shared<Job>();
    work.notify_one();
  }

  void hand_over_first() {
    std::shared_ptr<Job> const job = under_way.front();
    {
      std::unique_lock lock(mutex);
      done.wait(lock, [&] { return job->done; });
    }
    if (job->error) std::rethrow_exception(job->error);
    under_way.pop_front();
    bytes_under_way -= job->bytes;
    for (Item& item : job->items) {
      if (ids.empty()) {
        ids = std::move(item.ids);
      } else {
        ids.insert(ids.end(), item.ids.begin(), item.ids.end());
      }
      if (!item.last) continue;
      sink(item.group, std::move(ids), static_cast<int64_t>(item.document->size()));
      ids = {};
    }
  }
};

ParallelEncoder::ParallelEncoder(Tokenizer const& tokenizer, int threads, Sink sink)
    : state_(std::make_unique<State>(tokenizer, std::move(sink))) {
  for (int i = 0; i < std::max(threads, 1); ++i) state_->threads.emplace_back([state = state_.get()] { state->run(); });
}

ParallelEncoder::~ParallelEncoder() {
  {
    std::lock_guard const lock(state_->mutex);
    state_->stop = true;
  }
  state_->work.notify_all();
  for (std::thread& thread : state_->threads) thread.join();
}

void ParallelEncoder::submit(int group, std::string document) {
  auto const text = std::make_shared<std::string const>(std::move(document));
  std::vector<std::string_view> const parts = state_->tokenizer.split_for_encoding(*text);
  for (size_t i = 0; i < parts.size(); ++i) {
    state_->open->items.push_back({group, text, parts[i], i + 1 == parts.size(), {}});
    state_->open->bytes += parts[i].size();
    if (state_->open->bytes >= job_bytes) state_->send();
  }
  while (state_->bytes_under_way > most_bytes) state_->hand_over_first();
}

void ParallelEncoder::finish() {
  state_->send();
  while (!state_->under_way.empty()) state_->hand_over_first();
}

}  // namespace isobath
