#include "core/process.h"

#include <fcntl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <sstream>
#include <string_view>

#include "core/error.h"
#include "core/system_call.h"

namespace isobath {

namespace {

std::string without_deleted_mark(std::string path) {
  constexpr std::string_view deleted = " (deleted)";  // the kernel's mark of a file that was replaced already
  if (path.ends_with(deleted)) path.resize(path.size() - deleted.size());
  return path;
}

}  // namespace

HeldProgram::HeldProgram(fs::path const& program)
    : descriptor_(uninterrupted([&] { return open(program.c_str(), O_RDONLY | O_CLOEXEC); })) {
  if (descriptor_ < 0) throw Error(ExitCode::other, "cannot open the program " + program.string() + ": " + std::strerror(errno));
  name_ = without_deleted_mark(fs::read_symlink("/proc/self/fd/" + std::to_string(descriptor_)).string());
}

HeldProgram::~HeldProgram() { close(descriptor_); }

// The path names this process's number instead of /proc/self, because the interpreter of a script opens the path once more, after the
// child's own copy of the descriptor is closed. The child's /proc/self/exe is the path where the program was found, so that it finds the
// files beside it.
fs::path HeldProgram::file() const { return "/proc/" + std::to_string(getpid()) + "/fd/" + std::to_string(descriptor_); }

AppendFile::AppendFile(fs::path const& path)
    : descriptor_(uninterrupted([&] { return open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666); })) {
  if (descriptor_ < 0) throw Error(ExitCode::disk, "cannot write " + path.string() + ": " + std::strerror(errno));
}

AppendFile::~AppendFile() { close(descriptor_); }

ChildProcess::ChildProcess(std::vector<std::string> const& command, ChildStreams const& streams, fs::path const& program) {
  int const nothing = open("/dev/null", O_RDWR | O_CLOEXEC);
  auto const or_nothing = [&](int descriptor) { return descriptor < 0 ? nothing : descriptor; };
  int const input = or_nothing(streams.input), output = or_nothing(streams.output), error = or_nothing(streams.error);
  std::vector<char*> arguments;
  for (std::string const& word : command) arguments.push_back(const_cast<char*>(word.c_str()));
  arguments.push_back(nullptr);
  std::string const file = program.empty() ? command.front() : program.string();

  // fork and exec, because posix_spawn cannot set PR_SET_PDEATHSIG. Only async-signal-safe calls are allowed in between.
  pid_t const parent = getpid();
  pid_ = fork();
  if (pid_ == 0) {
    setpgid(0, 0);
    sigset_t none;  // the parent blocks the stop signals; the child must not
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, nullptr);
    ::signal(SIGPIPE, SIG_DFL);
    prctl(PR_SET_PDEATHSIG, SIGTERM);
    if (getppid() != parent) _exit(143);  // the parent died before PR_SET_PDEATHSIG was set
    dup2(input, STDIN_FILENO);
    dup2(output, STDOUT_FILENO);
    dup2(error, STDERR_FILENO);
    execv(file.c_str(), arguments.data());
    _exit(127);
  }
  int const failure = errno;
  if (nothing >= 0) close(nothing);
  if (pid_ < 0) throw Error(ExitCode::other, "cannot start " + command.front() + ": " + std::strerror(failure));
  setpgid(pid_, pid_);  // parent and child both set it, as either may run first
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

void ChildProcess::wait() {
  siginfo_t ignored = {};
  while (!poll()) waitid(P_PID, static_cast<id_t>(pid_), &ignored, WEXITED | WNOWAIT);
}

void ChildProcess::signal(int number) {
  if (!ended_) kill(pid_, number);
}

std::vector<std::string> command_words() {
  std::string const arguments = read_file("/proc/self/cmdline");
  std::vector<std::string> words;
  for (size_t begin = 0; begin < arguments.size(); begin += words.back().size() + 1)
    words.push_back(arguments.substr(begin, arguments.find('\0', begin) - begin));
  return words;
}

fs::path own_program() {
  auto const here = reinterpret_cast<uintptr_t>(&own_program);
  std::istringstream mappings(read_file("/proc/self/maps"));  // "55d0c0a00000-55d0c0b00000 r-xp 00000000 08:01 123   /usr/bin/isobath"
  for (std::string line; std::getline(mappings, line);) {
    char* end = nullptr;
    uintptr_t const first = std::strtoull(line.c_str(), &end, 16), last = std::strtoull(end + 1, nullptr, 16);
    size_t const path = line.find('/');
    if (here < first || here >= last || path == std::string::npos) continue;
    return without_deleted_mark(line.substr(path));
  }
  return fs::read_symlink("/proc/self/exe");
}

std::vector<std::string> loader_words() {
  fs::path const program = own_program();
  if (program == without_deleted_mark(fs::read_symlink("/proc/self/exe").string())) return {};
  std::vector<std::string> words = command_words();
  auto const named = std::find(words.begin() + 1, words.end(), program_invocation_name);
  if (named == words.end()) return {program.string()};
  words.erase(named, words.end());
  words.erase(words.begin());
  words.push_back(program.string());
  return words;
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
