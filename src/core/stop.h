#pragma once
// SIGINT and SIGTERM set a flag; the loop that sees it saves and leaves. A second signal ends the process at once.

namespace isobath {

// Call first in main: threads that start later inherit that both signals are blocked; one thread of its own waits for them. So no signal
// handler interrupts a computation: oneDNN's kernels use the stack pointer as an ordinary register, and a handler's stack frame would be
// written wherever it points.
void watch_stop_signals();
int stop_requested();           // 0, or the signal number
void leave_when_stopped();      // throws Error with the exit code of the signal, where there was one
void request_stop(int signal);  // for tests

}  // namespace isobath
