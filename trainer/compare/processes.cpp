#include "trainer/compare/processes.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstring>
#include <deque>
#include <sstream>
#include <string_view>

#include "core/error.h"

namespace isobath {

HeldProgram::HeldProgram(fs::path const& program) : descriptor_(open(program.c_str(), O_RDONLY | O_CLOEXEC)) {
  if (descriptor_ < 0) throw Error(ExitCode::other, "cannot open the program " + program.string() + ": " + std::strerror(errno));
  name_ = fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor_)).string();
  constexpr std::string_view deleted = " (deleted)";  // the kernel's mark of a file that was replaced already
  if (name_.ends_with(deleted)) name_.resize(name_.size() - deleted.size());
}

HeldProgram::~HeldProgram() { close(descriptor_); }

// By this process's number and not as /proc/self: the interpreter of a script opens the path once more, when the child's own copy of the
// descriptor is closed. The child's /proc/self/exe is where the program was found, so that it finds what lies beside it.
fs::path HeldProgram::file() const { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(descriptor_); }

ChildProcess::ChildProcess(std::vector<std::string> const& command, fs::path const& log, fs::path const& program) {
  int const output = open(log.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666);
  if (output < 0) throw Error(ExitCode::disk, "cannot write " + log.string() + ": " + std::strerror(errno));
  int const input = open("/dev/null", O_RDONLY | O_CLOEXEC);
  std::vector<char*> arguments;
  for (std::string const& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::string const file = program.empty() ? command.front() : program.string();

  // posix_spawn knows no PR_SET_PDEATHSIG. Only async-signal-safe calls between fork and exec.
  pid_t const parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    setpgid(0, 0);
    sigset_t none;  // the parent's threads block the stop signals
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(143);  // the parent died before it could be asked for
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(output, STDERR_FILENO);
    execv(file.c_str(), arguments.data());
    _exit(127);
  }
  int const failure = errno;
  close(output);
  if (input >= 0) close(input);
  if (pid_ < 0) throw Error(ExitCode::other, "cannot start " + command.front() + ": " + std::strerror(failure));
  setpgid(pid_, pid_);  // whichever of the two comes first
}

ChildProcess::~ChildProcess() {
  if (pid_ <= 0 || ended_) return;
  kill(pid_, SIGKILL);
  waitpid(pid_, nullptr, 0);
}

bool ChildProcess::poll() {
  if (ended_) return true;
  int status = 0;
  rusage usage = {};
  pid_t const got = wait4(pid_, &status, WNOHANG, &usage);
  if (got == 0 || (got < 0 && errno == EINTR)) return false;
  ended_ = true;
  exit_code_ = got < 0 ? 127 : WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  peak_memory_bytes_ = static_cast<int64_t>(usage.ru_maxrss) * 1024;
  wall_seconds_ = std::chrono::duration<double>(std::chrono::steady_clock::now() - started_).count();
  return true;
}

void ChildProcess::signal(int number) {
  if (!ended_) kill(pid_, number);
}

std::string last_lines(fs::path const& file, int count) {
  if (!fs::exists(file)) return "";
  std::deque<std::string> lines;
  std::istringstream text(read_file(file));
  for (std::string line; std::getline(text, line);) {
    if (line.find_first_not_of(" \t\r") == std::string::npos) continue;
    lines.push_back(line);
    if (static_cast<int>(lines.size()) > count) lines.pop_front();
  }
  std::string joined;
  for (std::string const& line : lines) joined += (joined.empty() ? "" : "\n") + line;
  return joined;
}

}  // namespace isobath
