#include "trainer/parallel/rank_watch.h"

#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>
#include <vector>

#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"

namespace isobath {
namespace {

using Clock = std::chrono::steady_clock;
using Seconds = std::chrono::duration<double>;

constexpr char const *verdict_key = "verdict", *ended = "ended";

constexpr char const* failed = " failed: ";

[[noreturn]] void leave(std::string const& why) {
  end_live_line();
  bool const is_said_by_first = why.starts_with("rank 0 ") && why.find(failed) != std::string::npos;
  if (int const signal = stop_requested(); signal != 0 && is_said_by_first) _exit(128 + signal);  // stopped before the first step
  if (!is_said_by_first) log_error(why);
  _exit(static_cast<int>(ExitCode::distributed));
}

// What one rank has heard of another.
struct Heard {
  int64_t rank = 0;
  std::string beat;
  Clock::time_point since = Clock::now();
  double silent() const { return beat == ended ? 0 : Seconds(Clock::now() - since).count(); }
};

}  // namespace

struct RankWatch::State {
  State(Ranks const& r, double limit) : ranks(r), timeout(limit), store(r.rendezvous().connect_again()) {
    for (int64_t rank = 0; rank < ranks.size(); ++rank)
      if (rank != ranks.rank() && (ranks.is_first() || rank == 0)) watched.push_back({rank, "", Clock::now()});
    heartbeat = std::thread([this] { beat(); });
    deadline = std::thread([this] { watch_the_store(); });
  }

  double interval() const { return std::min(0.5, timeout / 10); }

  // Sleeps for `seconds`; false once the watch is over.
  bool sleep(double seconds) {
    std::unique_lock lock(mutex);
    return !over.wait_for(lock, Seconds(seconds), [&] { return stop; });
  }

  std::string name(int64_t rank) const { return ranks.rendezvous().name(rank); }

  void beat() {
    try {
      for (int64_t count = 1; sleep(interval()); ++count) {
        store.set(beat_key(ranks.rank()), std::to_string(count));
        if (store.has(verdict_key)) {
          std::string const why = store.get({verdict_key}).front();
          store.set("heard/" + std::to_string(ranks.rank()), "");
          if (is_failing) return;
          std::vector<int64_t> alive;
          for (Heard const& other : watched)
            if (!is_lost(other)) alive.push_back(other.rank);
          let_others_hear(store, alive);
          leave(why);
        }
        listen(watched, store);
        if (std::string const why = silent_ranks(); !why.empty()) store.set_once(verdict_key, why);
        last_contact = Clock::now().time_since_epoch().count();
      }
    } catch (std::exception const& problem) {
      // The store is gone. It is rank 0's, unless torchrun serves it.
      if (!sleep(0.0) || is_failing) return;
      bool const of_launcher = place.store_is_running;
      leave(fmt::format("{} is gone: {}", of_launcher ? "the launcher's store" : name(0), problem.what()));
    }
  }

  // Who of the watched is lost, as words; empty: nobody.
  std::string silent_ranks() const {
    std::string names;
    ptrdiff_t count = 0;
    double longest = 0;
    for (Heard const& heard : watched) {
      if (!is_lost(heard)) continue;
      names += (names.empty() ? "" : ", ") + name(heard.rank);
      longest = std::max(longest, heard.silent());
      ++count;
    }
    if (count == 0) return "";
    bool const all = count > 1 && count == std::ssize(watched);
    return fmt::format("{} silent for {:.1f} s, parallel.timeout is {} s{}", names + (count == 1 ? " has been" : " have been"), longest,
                       timeout.load(), all ? ": all others, so that it is rather this host that is cut off" : "");
  }

  // Rank 0 serves the store, so that it must not leave before the others have read there why.
  void let_others_hear(KeyStore& connection, std::vector<int64_t> const& others) const {
    Clock::time_point const start = Clock::now();
    for (int64_t const rank : others)
      if (ranks.is_first()) connection.wait("heard/" + std::to_string(rank), 3 * interval() - Seconds(Clock::now() - start).count());
  }

  // Early enough for all to have left when the timeout is over: they hear of it at their next beat.
  bool is_lost(Heard const& other) const { return other.silent() > timeout - 2 * interval(); }

  static void listen(std::vector<Heard>& others, KeyStore& store) {
    std::vector<std::string> keys;
    for (Heard const& heard : others) keys.push_back(beat_key(heard.rank));
    std::vector<std::string> const beats = store.get(keys);
    for (size_t i = 0; i < others.size(); ++i) {
      if (beats[i] == others[i].beat) continue;
      others[i].beat = beats[i];
      others[i].since = Clock::now();
    }
  }

  // A call to the store that never returns (the host is cut off, or its process is stopped) must not keep this rank.
  void watch_the_store() {
    while (sleep(interval())) {
      double const silent = Seconds(Clock::now().time_since_epoch() - Clock::duration(last_contact)).count();
      if (silent <= timeout - interval() || is_failing) continue;
      leave(fmt::format("{} at {}:{} has not answered for {:.1f} s, parallel.timeout is {} s",
                        place.store_is_running ? "the launcher's store" : name(0), place.address, place.port, silent, timeout.load()));
    }
  }

  Ranks const& ranks;
  RankPlace const& place = ranks.rendezvous().place();
  std::atomic<double> timeout;
  KeyStore store;  // of the heartbeat's thread
  std::vector<Heard> watched;
  std::atomic<Clock::rep> last_contact = Clock::now().time_since_epoch().count();
  std::atomic<bool> is_failing = false;  // this rank has an error of its own to report
  std::mutex mutex;
  std::condition_variable over;
  bool stop = false;
  std::thread heartbeat, deadline;
};

RankWatch::RankWatch(Ranks const& ranks, double timeout) {
  if (!ranks.alone()) state_ = std::make_unique<State>(ranks, timeout);
}

RankWatch::~RankWatch() {
  if (!state_) return;
  {
    std::lock_guard const lock(state_->mutex);
    state_->stop = true;
  }
  state_->over.notify_all();
  state_->heartbeat.join();
  state_->deadline.join();
  if (state_->is_failing) return;
  try {  // rank 0 serves the store, so it leaves last
    KeyStore& store = state_->store;
    store.set(beat_key(state_->ranks.rank()), ended);
    if (!state_->ranks.is_first()) return;
    auto const is_gone = [&](Heard const& other) { return other.beat == ended || state_->is_lost(other); };
    do {
      std::this_thread::sleep_for(std::chrono::milliseconds(20));
      State::listen(state_->watched, store);
    } while (!std::all_of(state_->watched.begin(), state_->watched.end(), is_gone));
  } catch (std::exception const&) {  // the others do not hear it, and notice by themselves
  }
}

void RankWatch::set_timeout(double seconds) {
  if (state_) state_->timeout = seconds;
}

bool RankWatch::tell_failure(std::string const& why) {
  if (!state_) return true;
  state_->is_failing = true;
  bool is_news = true;
  if (!state_->ranks.is_first()) std::this_thread::sleep_for(std::chrono::milliseconds(300));  // what all fail by, rank 0 says
  try {
    KeyStore store = state_->ranks.rendezvous().connect_again();
    std::string const verdict = store.set_once(verdict_key, state_->ranks.own_name() + failed + why);
    is_news = state_->ranks.is_first() || verdict != state_->name(0) + failed + why;
    std::vector<int64_t> others;
    for (int64_t rank = 1; rank < state_->ranks.size(); ++rank) others.push_back(rank);
    state_->let_others_hear(store, others);
  } catch (std::exception const&) {  // the store is gone: the others notice that
  }
  return is_news;
}

void RankWatch::find_lost_rank() {
  if (!state_) return;
  try {
    KeyStore store = state_->ranks.rendezvous().connect_again();
    std::vector<Heard> others;
    for (int64_t rank = 0; rank < state_->ranks.size(); ++rank)
      if (rank != state_->ranks.rank()) others.push_back({rank, "", Clock::now()});
    // A rank that lives beats once an interval(); one that failed by itself says so, and the heartbeat's thread ends this process then.
    State::listen(others, store);
    double const enough = 2.5 * state_->interval();
    for (Clock::time_point const start = Clock::now(); Seconds(Clock::now() - start).count() < enough;) {
      std::this_thread::sleep_for(Seconds(state_->interval() / 10));
      State::listen(others, store);
    }
    std::string silent;
    for (Heard const& heard : others)
      if (heard.silent() > enough * 0.9) silent += (silent.empty() ? "" : ", ") + state_->name(heard.rank);
    if (silent.empty()) return;
    std::string const why = store.set_once(verdict_key, silent + " is gone");
    std::this_thread::sleep_for(
        Seconds(3 * state_->interval()));  // the heartbeat's thread prints it and leaves; rank 0 lets the others read
    leave(why);
  } catch (std::exception const& problem) {
    std::this_thread::sleep_for(Seconds(3 * state_->interval()));
    leave(problem.what());
  }
}

}  // namespace isobath
