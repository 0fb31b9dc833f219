#include "trainer/launch/start_ranks.h"

#include <arpa/inet.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <optional>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "core/process.h"
#include "core/stop.h"

namespace isobath {
namespace {

using Clock = std::chrono::steady_clock;
constexpr std::chrono::seconds grace{5};  // for the others to notice that one has failed, and to say so

// A port that no process listens on now.
int free_port() {
  int const descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address = {};
  address.sin_family = AF_INET;
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  socklen_t size = sizeof address;
  bool const found = descriptor >= 0 && bind(descriptor, reinterpret_cast<sockaddr*>(&address), size) == 0 &&
                     getsockname(descriptor, reinterpret_cast<sockaddr*>(&address), &size) == 0;
  int const reason = errno;
  if (descriptor >= 0) close(descriptor);
  if (!found) throw Error(ExitCode::distributed, std::string("found no free port for the ranks: ") + std::strerror(reason));
  return ntohs(address.sin_port);
}

void set(char const* name, std::string const& value) { setenv(name, value.c_str(), /*overwrite=*/1); }

bool is_stop(int code) { return code > 128 && is_stop_signal(code - 128); }

void report_death(size_t rank, int code) {
  if (code <= 128 || is_stop(code)) return;
  log_error("rank " + std::to_string(rank) + " was ended by signal " + std::to_string(code - 128) + " (" + strsignal(code - 128) + ")");
}

}  // namespace

int common_exit_code(std::vector<int> const& codes) {
  auto const find = [&](auto const& wanted) {
    auto const found = std::find_if(codes.begin(), codes.end(), wanted);
    return found == codes.end() ? 0 : *found;
  };
  int const lost = static_cast<int>(ExitCode::distributed);
  if (int const own = find([&](int code) { return code != 0 && code != lost && code < 128; })) return own;
  if (find([&](int code) { return code == lost || (code > 128 && !is_stop(code)); })) return lost;
  return find(is_stop);
}

int start_ranks(int64_t count, std::vector<std::string> const& command) {
  HeldProgram const program("/proc/self/exe");
  set("WORLD_SIZE", std::to_string(count));
  set("MASTER_ADDR", "127.0.0.1");
  set("MASTER_PORT", std::to_string(free_port()));
  std::vector<std::unique_ptr<ChildProcess>> children;
  for (int64_t rank = 0; rank < count; ++rank) {
    set("RANK", std::to_string(rank));
    set("LOCAL_RANK", std::to_string(rank));
    children.push_back(std::make_unique<ChildProcess>(command, ChildStreams{-1, STDOUT_FILENO, STDERR_FILENO}, program.file()));
  }
  Activity const waiting("waiting for the ranks to save", Activity::Loses::work);
  std::vector<bool> ended(children.size());
  bool forwarded = false;
  std::optional<Clock::time_point> failed;
  while (std::count(ended.begin(), ended.end(), false) > 0) {
    if (int const signal = stop_requested(); signal != 0 && !forwarded) {
      forwarded = true;
      for (auto const& child : children) child->signal(signal);
    }
    for (size_t rank = 0; rank < children.size(); ++rank) {
      if (ended[rank] || !children[rank]->poll()) continue;
      ended[rank] = true;
      if (int const code = children[rank]->exit_code(); code != 0 && !is_stop(code) && !failed) failed = Clock::now();
      report_death(rank, children[rank]->exit_code());
    }
    // One that is stopped, or has not met the others yet, does not notice it.
    if (failed && Clock::now() - *failed > grace)
      for (size_t rank = 0; rank < children.size(); ++rank)
        if (!ended[rank]) children[rank]->signal(SIGKILL);
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  std::vector<int> codes;
  for (auto const& child : children) codes.push_back(child->exit_code());
  return common_exit_code(codes);
}

}  // namespace isobath
