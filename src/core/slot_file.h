#pragma once
// A file of records of one size, each in a slot with a number, which several processes may read and write at the same time.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>

namespace isobath {

// A slot holds a whole record or counts as empty: a checksum over the record and the slot's number stands before it, and one that was cut
// short, damaged or mixed with another writer's does not agree with it. Nothing is synced: what a crash loses is an empty slot.
class SlotFile {
 public:
  // Makes the file and the folders above it where there are none. Throws Error(disk), as does all below.
  SlotFile(std::filesystem::path const& path, size_t record_bytes);
  ~SlotFile();
  SlotFile(SlotFile const&) = delete;
  SlotFile& operator=(SlotFile const&) = delete;

  // Reads the record of a slot; false where the slot is empty, and `record` then holds anything.
  bool read(int64_t slot, std::span<std::byte> record) const;
  void write(int64_t slot, std::span<std::byte const> record) const;
  std::filesystem::path const& path() const { return path_; }

 private:
  size_t offset_of(int64_t slot, size_t bytes) const;

  std::filesystem::path path_;
  size_t record_bytes_;
  int fd_ = -1;
};

}  // namespace isobath
