#include "core/files.h"

#include <fcntl.h>
#include <pwd.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <optional>
#include <thread>
#include <utility>

#include "core/error.h"
#include "core/log.h"
#include "core/stop.h"
#include "core/system_call.h"

namespace isobath {
namespace {

[[noreturn]] void fail(ExitCode code, std::string const& action, fs::path const& path, int error) {
  throw Error(code, "cannot " + action + " " + path.string() + ": " + std::strerror(error));
}

// A file descriptor that closes itself.
struct Descriptor {
  int fd;
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

int open_file(fs::path const& path, int flags) {
  return uninterrupted([&] { return ::open(path.c_str(), flags | O_CLOEXEC, 0666); });
}

int sync(int fd) {
  return uninterrupted([&] { return ::fsync(fd); });
}

int64_t size_of_regular_file(int fd, fs::path const& path) {
  struct stat status {};
  if (::fstat(fd, &status) != 0) fail(ExitCode::data, "read", path, errno);
  if (S_ISDIR(status.st_mode)) throw Error(ExitCode::data, "cannot read " + path.string() + ": it is a folder, not a file");
  return status.st_size;
}

}  // namespace

std::string read_file(fs::path const& path) {
  Descriptor const file{open_file(path, O_RDONLY)};
  if (file.fd < 0) fail(ExitCode::data, "read", path, errno);
  std::string content;
  content.reserve(static_cast<size_t>(size_of_regular_file(file.fd, path)));
  // The size is only a hint: pipes and /proc files report 0.
  char buffer[1 << 16];
  for (;;) {
    ssize_t const got = ::read(file.fd, buffer, sizeof buffer);
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail(ExitCode::data, "read", path, errno);
    if (got == 0) return content;
    content.append(buffer, static_cast<size_t>(got));
  }
}

bool is_written_into(fs::path const& path) {
  std::string const name = fs::absolute(path).lexically_normal().string();
  std::error_code ignored;
  fs::file_status const status = fs::status(path, ignored);
  bool const is_special = fs::exists(status) && !fs::is_regular_file(status) && !fs::is_directory(status);
  return is_special || name.starts_with("/dev/") || name.starts_with("/proc/");
}

void write_atomically(fs::path const& path, std::function<void(fs::path const& temporary)> const& write) {
  static std::atomic<int> counter{0};
  std::string const suffix = "tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  bool const into = is_written_into(path);
  fs::path const target = fs::is_symlink(path) && !into ? fs::weakly_canonical(path) : path;  // a link stays one
  fs::path const temporary = into ? fs::temp_directory_path() / ("isobath-" + suffix) : fs::path(target.string() + "." + suffix);
  std::error_code ignored;
  try {
    write(temporary);
    if (into) {
      copy_durably(temporary, path);
      fs::remove(temporary, ignored);
      return;
    }
    if (::rename(temporary.c_str(), target.c_str()) != 0) fail(ExitCode::disk, "write", path, errno);
  } catch (...) {
    fs::remove_all(temporary, ignored);
    throw;
  }
  sync_folder(folder_of(target));
}

void write_file_atomic(fs::path const& path, std::string_view content) {
  write_atomically(path, [&](fs::path const& temporary) {
    FileWriter writer(temporary);
    writer.write(content);
    writer.finish();
  });
}

void sync_folder(fs::path const& folder) {
  Descriptor const handle{open_file(folder, O_RDONLY | O_DIRECTORY)};
  if (handle.fd < 0) fail(ExitCode::disk, "open folder", folder, errno);
  // Some file systems cannot sync a folder and say EINVAL; their renames are as durable as they get.
  if (sync(handle.fd) != 0 && errno != EINVAL) fail(ExitCode::disk, "sync folder", folder, errno);
}

FileWriter::FileWriter(fs::path const& path) : path_(path) {
  std::error_code ignored;
  std::optional<Activity> waiting;
  if (fs::is_fifo(path, ignored)) waiting.emplace("waiting for a reader of the pipe " + path.string(), Activity::Loses::nothing);
  fd_ = open_file(path, O_WRONLY | O_CREAT | O_TRUNC);
  if (fd_ < 0) fail(ExitCode::disk, "write", path_, errno);
}

FileWriter::~FileWriter() {
  if (fd_ < 0) return;
  struct stat status {};
  bool const regular = ::fstat(fd_, &status) == 0 && S_ISREG(status.st_mode);
  ::close(fd_);
  if (regular) ::unlink(path_.c_str());
}

void FileWriter::write(std::span<std::byte const> bytes) {
  while (!bytes.empty()) {
    ssize_t const put = ::write(fd_, bytes.data(), std::min<size_t>(bytes.size(), 1 << 30));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail(ExitCode::disk, "write", path_, errno);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

void FileWriter::finish() {
  // Pipes and devices have nothing to sync and say EINVAL.
  if (sync(fd_) != 0 && errno != EINVAL && errno != EROFS && errno != ENOTSUP) fail(ExitCode::disk, "write", path_, errno);
  if (::close(std::exchange(fd_, -1)) != 0) {
    int const error = errno;
    ::unlink(path_.c_str());
    fail(ExitCode::disk, "write", path_, error);
  }
}

void copy_durably(fs::path const& from, fs::path const& to) {
  MappedFile const source(from);
  FileWriter file(to);
  file.write(source.bytes());
  file.finish();
}

FilePatcher::FilePatcher(fs::path const& path) : path_(path), fd_(open_file(path, O_WRONLY)) {
  if (fd_ < 0) fail(ExitCode::disk, "write", path_, errno);
}

FilePatcher::~FilePatcher() {
  if (fd_ >= 0) ::close(fd_);
}

void FilePatcher::write(size_t offset, std::span<std::byte const> bytes) {
  while (!bytes.empty()) {
    ssize_t const written = ::pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (written < 0 && errno == EINTR) continue;
    if (written < 0) fail(ExitCode::disk, "write", path_, errno);
    offset += static_cast<size_t>(written);
    bytes = bytes.subspan(static_cast<size_t>(written));
  }
}

void FilePatcher::finish() {
  if (sync(fd_) != 0) fail(ExitCode::disk, "write", path_, errno);
}

uint64_t checksum(std::span<std::byte const> bytes) { return XXH3_64bits(bytes.data(), bytes.size()); }

uint64_t checksum_file(fs::path const& path) { return checksum(MappedFile(path).bytes()); }

std::string hex(uint64_t value) {
  std::string text(16, '0');
  for (int i = 15; i >= 0; --i, value >>= 4) text[static_cast<size_t>(i)] = "0123456789abcdef"[value & 15];
  return text;
}

std::string FileStamp::text() const {
  return std::to_string(bytes) + " " + std::to_string(inode) + " " + std::to_string(modified) + " " + std::to_string(changed);
}

FileStamp stamp_of(fs::path const& path) {
  struct stat status {};
  if (::stat(path.c_str(), &status) != 0) fail(ExitCode::data, "read", path, errno);
  auto const nanoseconds = [](timespec const& time) { return int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec; };
  return {status.st_size, static_cast<int64_t>(status.st_ino), nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

MappedFile::MappedFile(fs::path const& path) {
  Descriptor const file{open_file(path, O_RDONLY)};
  if (file.fd < 0) fail(ExitCode::data, "read", path, errno);
  size_ = static_cast<size_t>(size_of_regular_file(file.fd, path));
  if (size_ == 0) return;  // an empty mapping is an error to mmap
  void* const address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.fd, 0);
  if (address == MAP_FAILED) fail(ExitCode::data, "map", path, errno);
  data_ = static_cast<std::byte const*>(address);
}

MappedFile::~MappedFile() {
  if (data_) ::munmap(const_cast<std::byte*>(data_), size_);
}

MappedFile::MappedFile(MappedFile&& other) noexcept : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

void forget_mapped(std::span<std::byte const> bytes) {
  auto const page = static_cast<size_t>(::sysconf(_SC_PAGESIZE));
  size_t const before = reinterpret_cast<uintptr_t>(bytes.data()) % page, skipped = before == 0 ? 0 : page - before;  // up to a whole page
  if (bytes.size() < skipped + page) return;
  size_t const whole = (bytes.size() - skipped) / page * page;
  ::madvise(const_cast<std::byte*>(bytes.data() + skipped), whole, MADV_DONTNEED);
}

FileLock::FileLock(fs::path const& path, bool wait, Mode mode) : fd_(open_file(path, O_RDWR | O_CREAT)) {
  if (fd_ < 0) fail(ExitCode::disk, "open lock file", path, errno);
  Descriptor open{fd_};  // closes it when an error ends this constructor
  while (::flock(fd_, (mode == Mode::shared ? LOCK_SH : LOCK_EX) | LOCK_NB) != 0) {
    int const error = errno;
    if (error == EINTR) continue;
    if (error == ENOLCK || error == ENOTSUP || error == ENOSYS) {
      log_warning("the file system of " + path.string() + " has no locks (" + std::strerror(error) +
                  "): nothing keeps a second process from working in the same folder");
      break;
    }
    if (error != EWOULDBLOCK) fail(ExitCode::disk, "lock", path, error);
    if (!wait) throw Error(ExitCode::disk, "lock " + path.string() + " is held by another process");
    leave_when_stopped();
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  open.fd = -1;
}

FileLock::~FileLock() { ::close(fd_); }

bool is_locked(fs::path const& path) {
  struct stat status;
  if (::stat(path.c_str(), &status) != 0) return false;
  std::string const inode = ":" + std::to_string(status.st_ino) + " ";
  std::ifstream locks("/proc/locks");
  for (std::string line; std::getline(locks, line);)
    if (line.find(inode) != std::string::npos) return true;
  return false;
}

fs::path home_folder() {
  if (char const* const home = std::getenv("HOME"); home && *home) return home;
  passwd const* const user = ::getpwuid(::getuid());
  return user && user->pw_dir ? user->pw_dir : "";
}

fs::path expand_user(std::string const& path) {
  if (path != "~" && !path.starts_with("~/")) return path;
  fs::path const home = home_folder();
  if (home.empty()) throw Error(ExitCode::config, "'" + path + "': there is no home folder (HOME is not set); write the whole path");
  return path.size() == 1 ? home : home / path.substr(2);
}

fs::path without_last_slash(fs::path const& path) { return path.has_filename() || !path.has_relative_path() ? path : path.parent_path(); }

fs::path folder_of(fs::path const& path) {
  fs::path const folder = without_last_slash(path).parent_path();
  return folder.empty() ? "." : folder;
}

fs::path output_file(std::string const& path, std::string const& option) {
  fs::path const file = expand_user(path);
  std::error_code ignored;
  if (file.has_filename() && !fs::is_directory(file, ignored)) return file;
  throw Error(ExitCode::config,
              option + " '" + path + "': " + (path.empty() ? "an empty name" : "this is a folder") + "; name a file to write");
}

}  // namespace isobath
