#pragma once
// SIGINT and SIGTERM set a flag; the loop that sees it saves and leaves. A second signal ends the process at once.

namespace isobath {

void install_stop_handlers();
int stop_requested();  // 0, or the signal number
void request_stop(int signal);  // for tests

}  // namespace isobath
