#include "core/stop.h"

#include <unistd.h>

#include <csignal>
#include <ctime>

namespace isobath {
namespace {

volatile std::sig_atomic_t received = 0;

double volatile received_at = 0;

double now() {
  timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);  // allowed in a signal handler
  return static_cast<double>(time.tv_sec) + 1e-9 * static_cast<double>(time.tv_nsec);
}

// A signal that reaches a process twice at once (from the terminal and from its parent) counts once.
constexpr double same_signal_seconds = 0.2;

extern "C" void isobath_on_signal(int signal) {
  if (received != 0 && now() - received_at > same_signal_seconds) _exit(128 + signal);
  if (received == 0) received_at = now();
  received = signal;
}

}  // namespace

void install_stop_handlers() {
  struct sigaction action = {};
  action.sa_handler = isobath_on_signal;
  sigemptyset(&action.sa_mask);
  action.sa_flags = SA_RESTART;  // files being written are not cut short; the loop looks at the flag
  sigaction(SIGINT, &action, nullptr);
  sigaction(SIGTERM, &action, nullptr);
}

int stop_requested() { return received; }

void request_stop(int signal) { received = signal; }

}  // namespace isobath
