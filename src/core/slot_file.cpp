#include "core/slot_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "core/error.h"
#include "core/files.h"
#include "core/random.h"
#include "core/system_call.h"

namespace isobath {
namespace {

[[noreturn]] void fail_slot(std::string const& action, fs::path const& path, int error) {
  throw Error(ExitCode::disk, "cannot " + action + " " + path.string() + ": " + std::strerror(error));
}

uint64_t slot_checksum(int64_t slot, std::span<std::byte const> record) {
  return make_key({hash_text("slot"), static_cast<uint64_t>(slot), checksum(record)});
}

// Reads up to the end of the file; returns the number of bytes.
size_t read_at(int fd, size_t offset, std::span<std::byte> bytes, fs::path const& path) {
  size_t done = 0;
  while (done < bytes.size()) {
    ssize_t const got = ::pread(fd, bytes.data() + done, bytes.size() - done, static_cast<off_t>(offset + done));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) fail_slot("read", path, errno);
    if (got == 0) break;
    done += static_cast<size_t>(got);
  }
  return done;
}

void write_at(int fd, size_t offset, std::span<std::byte const> bytes, fs::path const& path) {
  while (!bytes.empty()) {
    ssize_t const put = ::pwrite(fd, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (put < 0 && errno == EINTR) continue;
    if (put < 0) fail_slot("write", path, errno);
    offset += static_cast<size_t>(put);
    bytes = bytes.subspan(static_cast<size_t>(put));
  }
}

}  // namespace

SlotFile::SlotFile(fs::path const& path, size_t record_bytes) : path_(path), record_bytes_(record_bytes) {
  std::error_code error;
  fs::create_directories(folder_of(path), error);
  if (error) throw Error(ExitCode::disk, "cannot make folder " + folder_of(path).string() + ": " + error.message());
  fd_ = uninterrupted([&] { return ::open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0666); });
  if (fd_ < 0) fail_slot("write", path, errno);
}

SlotFile::~SlotFile() { ::close(fd_); }

size_t SlotFile::offset_of(int64_t slot, size_t bytes) const {
  if (slot < 0 || bytes != record_bytes_)
    throw Error(ExitCode::other, "[slot file] slot " + std::to_string(slot) + " and a record of " + std::to_string(bytes) +
                                     " bytes: " + path_.string() + " has records of " + std::to_string(record_bytes_));
  return static_cast<size_t>(slot) * (sizeof(uint64_t) + record_bytes_);
}

bool SlotFile::read(int64_t slot, std::span<std::byte> record) const {
  size_t const offset = offset_of(slot, record.size());
  uint64_t sum = 0;
  if (read_at(fd_, offset, std::as_writable_bytes(std::span(&sum, 1)), path_) < sizeof sum) return false;
  return read_at(fd_, offset + sizeof sum, record, path_) == record.size() && sum == slot_checksum(slot, record);
}

void SlotFile::write(int64_t slot, std::span<std::byte const> record) const {
  size_t const offset = offset_of(slot, record.size());
  uint64_t const sum = slot_checksum(slot, record);
  write_at(fd_, offset + sizeof sum, record, path_);
  write_at(fd_, offset, std::as_bytes(std::span(&sum, 1)), path_);
}

}  // namespace isobath
