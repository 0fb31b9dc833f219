#pragma once
// Signals that ask the program to leave: SIGINT, SIGTERM, SIGHUP (the terminal is gone), and what batch systems send before a job's time is
// over: SIGUSR1, SIGUSR2, SIGXCPU. They set a flag; the loop that sees it saves and leaves with 128 + the signal's number. A second SIGINT
// or SIGTERM ends the process at once.

#include <string>

namespace isobath {

// Call early in main: threads that start later inherit that these signals are blocked; one thread of its own waits for them. So no signal
// handler interrupts a computation: oneDNN's kernels use the stack pointer as an ordinary register, and a handler's stack frame would be
// written wherever it points. A SIGHUP that was ignored at the start (nohup) stays ignored. SIGPIPE is ignored: a reader that goes away is
// an error of the write.
void watch_stop_signals();
int stop_requested();           // 0, or the signal's number
void leave_when_stopped();      // throws Stopped where a signal came
void request_stop(int signal);  // for tests
bool is_stop_signal(int signal);

// Names what the program does, for a person who asked it to leave and has to wait for more than a second: the latest of those that live.
class Activity {
 public:
  enum class Loses { nothing, work };  // nothing: the process may be ended in its midst, and is, unless one around it loses work
  Activity(std::string what, Loses loses);
  ~Activity();
  Activity(Activity const&) = delete;

 private:
  std::string what_before_;
  Loses loses_before_;
};

}  // namespace isobath
