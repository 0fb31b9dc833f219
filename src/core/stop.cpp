#include "core/stop.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <csignal>
#include <cstring>
#include <mutex>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/log.h"

namespace isobath {
namespace {

std::atomic<int> received = 0;

constexpr int stop_signals[] = {SIGINT, SIGTERM, SIGHUP, SIGUSR1, SIGUSR2, SIGXCPU};

// A signal that reaches a process twice at once (from the terminal and from its parent) counts once.
constexpr std::chrono::milliseconds same_signal{200};
// A loop that looks at the flag has left by then.
constexpr std::chrono::milliseconds patience{1500};

std::mutex activity_mutex;
std::string activity = "at work";
Activity::Loses activity_loses = Activity::Loses::work;
int activities = 0;

// SIGUSR1, SIGUSR2 and SIGXCPU announce the end of a batch job, and SIGHUP that of a session: a SIGTERM that follows insists on nothing.
bool insists(int signal) { return signal == SIGINT || signal == SIGTERM; }

// Ends a process that loses nothing by it, and otherwise says what it is still busy with.
void grow_impatient(int signal) {
  std::this_thread::sleep_for(patience);
  std::string what;
  Activity::Loses loses = Activity::Loses::work;
  {
    std::lock_guard const lock(activity_mutex);
    what = activity;
    loses = activity_loses;
  }
  std::string const name = "SIG" + std::string(sigabbrev_np(signal));
  if (loses == Activity::Loses::nothing) {
    log_info("stopped by " + name + " while " + what + "; nothing half-done is kept");
    _exit(128 + signal);
  }
  log_info("asked to leave by " + name + ", still " + what + ": it leaves when that is done; Ctrl-C or SIGTERM" +
           (insists(signal) ? " again" : " twice") + " ends it at once");
}

}  // namespace

bool is_stop_signal(int signal) { return std::find(std::begin(stop_signals), std::end(stop_signals), signal) != std::end(stop_signals); }

void watch_stop_signals() {
  signal(SIGPIPE, SIG_IGN);
  sigset_t signals;
  sigemptyset(&signals);
  for (int const number : stop_signals) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    if (number != SIGHUP || action.sa_handler != SIG_IGN) sigaddset(&signals, number);
  }
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    std::chrono::steady_clock::time_point insisted;
    for (int number = 0;;) {
      if (sigwait(&signals, &number) != 0) continue;
      auto const now = std::chrono::steady_clock::now();
      bool const again = insists(number) && insisted != std::chrono::steady_clock::time_point{};
      if (again && now - insisted > same_signal) _exit(128 + number);
      if (insists(number) && !again) insisted = now;
      if (received != 0) continue;
      received = number;
      std::thread(grow_impatient, number).detach();
    }
  }).detach();
}

int stop_requested() { return received; }

void leave_when_stopped() {
  if (int const signal = stop_requested()) throw Stopped(signal, "stopped");
}

void request_stop(int signal) { received = signal; }

Activity::Activity(std::string what, Loses loses) {
  std::lock_guard const lock(activity_mutex);
  what_before_ = std::exchange(activity, std::move(what));
  loses_before_ = activity_loses;
  bool const outer_loses_work = activities++ > 0 && loses_before_ == Loses::work;
  activity_loses = outer_loses_work ? Loses::work : loses;
}

Activity::~Activity() {
  std::lock_guard const lock(activity_mutex);
  --activities;
  activity = std::move(what_before_);
  activity_loses = loses_before_;
}

}  // namespace isobath
