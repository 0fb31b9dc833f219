#include "core/streams.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <chrono>
#include <cstring>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"

namespace isobath {
namespace {

// Waits until the descriptor takes more. False: it has not within `patience_s`, or the program was asked to stop.
bool wait_until_writable(int descriptor, double patience_s) {
  auto const begin = std::chrono::steady_clock::now();
  for (pollfd target{descriptor, POLLOUT, 0}; poll(&target, 1, /*milliseconds=*/100) == 0;) {
    if (stop_requested() != 0) return false;
    if (patience_s > 0 && std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count() > patience_s) return false;
  }
  return true;
}

}  // namespace

void open_standard_streams() {
  constexpr int modes[] = {O_RDONLY, O_RDONLY, O_RDWR};
  for (int descriptor = STDIN_FILENO; descriptor <= STDERR_FILENO; ++descriptor) {
    if (fcntl(descriptor, F_GETFD) >= 0 || errno != EBADF) continue;
    if (open("/dev/null", modes[descriptor]) != descriptor) _exit(static_cast<int>(ExitCode::other));  // open takes the lowest free number
  }
}

int write_whole(int descriptor, std::string_view text, double patience_s) {
  while (!text.empty()) {
    // write() to a full pipe would block until its reader continues. Poll first, so that the wait is limited.
    if (patience_s > 0 && !wait_until_writable(descriptor, patience_s)) return EAGAIN;
    ssize_t const written = write(descriptor, text.data(), text.size());
    if (written > 0) text.remove_prefix(static_cast<size_t>(written));
    if (written >= 0 || errno == EINTR) continue;
    if (errno != EAGAIN || !wait_until_writable(descriptor, patience_s)) return errno;
  }
  return 0;
}

void Output::flush() {
  std::string const text = std::exchange(waiting_, {}).str();
  int const error = write_whole(STDOUT_FILENO, text);
  if (error == EAGAIN) leave_when_stopped();
  if (error != 0)
    throw Error(ExitCode::disk, std::string("the result could not be written to standard output: ") +
                                    (error == EBADF ? "it is closed" : std::strerror(error)));
}

Output& standard_output() {
  static Output output;
  return output;
}

void announce_file(std::filesystem::path const& file, std::string const& what) {
  struct stat written = {}, output = {};
  bool const is_output = stat(file.c_str(), &written) == 0 && fstat(STDOUT_FILENO, &output) == 0 && written.st_dev == output.st_dev &&
                         written.st_ino == output.st_ino;
  std::string const text = file.string() + ": " + what;
  if (is_output)
    log_info(text);
  else
    standard_output() << text << "\n";
}

}  // namespace isobath
