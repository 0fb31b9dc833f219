#include "core/stop.h"

#include <unistd.h>

#include <atomic>
#include <chrono>
#include <csignal>
#include <thread>

#include "core/error.h"

namespace isobath {
namespace {

std::atomic<int> received = 0;

// A signal that reaches a process twice at once (from the terminal and from its parent) counts once.
constexpr std::chrono::milliseconds same_signal{200};

}  // namespace

void watch_stop_signals() {
  sigset_t signals;
  sigemptyset(&signals);
  sigaddset(&signals, SIGINT);
  sigaddset(&signals, SIGTERM);
  pthread_sigmask(SIG_BLOCK, &signals, nullptr);
  std::thread([signals] {
    std::chrono::steady_clock::time_point first;
    for (int signal = 0;;) {
      if (sigwait(&signals, &signal) != 0) continue;
      auto const now = std::chrono::steady_clock::now();
      if (received != 0 && now - first > same_signal) _exit(128 + signal);
      if (received == 0) first = now;
      received = signal;
    }
  }).detach();
}

int stop_requested() { return received; }

void leave_when_stopped() {
  if (int const signal = stop_requested()) throw Error(static_cast<ExitCode>(128 + signal), "stopped");
}

void request_stop(int signal) { received = signal; }

}  // namespace isobath
