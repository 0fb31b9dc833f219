#include "core/files.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <xxhash.h>
#include <fstream>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <utility>

#include "core/error.h"
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

void write_file_atomic(fs::path const& path, std::string_view content) {
  static std::atomic<int> counter{0};
  fs::path temporary = path;
  temporary += ".tmp-" + std::to_string(::getpid()) + "-" + std::to_string(counter++);
  FileWriter writer(temporary);
  writer.write(content);
  writer.finish();
  if (::rename(temporary.c_str(), path.c_str()) != 0) {
    int const error = errno;
    ::unlink(temporary.c_str());
    fail(ExitCode::disk, "write", path, error);
  }
  sync_folder(folder_of(path));
}

void sync_folder(fs::path const& folder) {
  Descriptor const handle{open_file(folder, O_RDONLY | O_DIRECTORY)};
  if (handle.fd < 0) fail(ExitCode::disk, "open folder", folder, errno);
  // Some file systems cannot sync a folder and say EINVAL; their renames are as durable as they get.
  if (sync(handle.fd) != 0 && errno != EINVAL) fail(ExitCode::disk, "sync folder", folder, errno);
}

FileWriter::FileWriter(fs::path const& path) : path_(path), fd_(open_file(path, O_WRONLY | O_CREAT | O_TRUNC)) {
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
  if (sync(fd_) != 0) fail(ExitCode::disk, "write", path_, errno);
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
  while (::flock(fd_, (mode == Mode::shared ? LOCK_SH : LOCK_EX) | (wait ? 0 : LOCK_NB)) != 0) {
    int const error = errno;
    if (error == EINTR) continue;
    ::close(fd_);
    if (error == EWOULDBLOCK) throw Error(ExitCode::disk, "lock " + path.string() + " is held by another process");
    fail(ExitCode::disk, "lock", path, error);
  }
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

fs::path expand_user(std::string const& path) {
  char const* const home = std::getenv("HOME");
  if (!home || path.empty() || path[0] != '~') return path;
  if (path.size() == 1) return home;
  return path[1] == '/' ? fs::path(home) / path.substr(2) : fs::path(path);
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
