#pragma once
// Reading and writing of files that are either complete or absent.

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace isobath {

namespace fs = std::filesystem;

std::string read_file(fs::path const& path);  // throws Error(data) naming the path
// Has `write` make a file or folder under a temporary name beside `path`, one that no other process uses, and then gives it the name
// `path`: nothing half-written ever has it. Where is_written_into(path), a temporary file is copied into it instead. Throws Error(disk)
// with errno's text, or what `write` throws; the temporary file is then gone.
void write_atomically(fs::path const& path, std::function<void(fs::path const& temporary)> const& write);
// Devices, pipes and whatever lies below /dev and /proc keep their places.
bool is_written_into(fs::path const& path);
void write_file_atomic(fs::path const& path, std::string_view content);
void copy_durably(fs::path const& from, fs::path const& to);  // to the disk, not to its cache alone; throws Error(data), Error(disk)
void sync_folder(fs::path const& folder);                     // fsync of a directory, after a rename inside it

// Writes a file piece by piece. Without finish() the file is removed again. Throws Error(disk) with errno's text.
class FileWriter {
 public:
  explicit FileWriter(fs::path const& path);
  ~FileWriter();
  FileWriter(FileWriter const&) = delete;
  FileWriter& operator=(FileWriter const&) = delete;
  void write(std::span<std::byte const> bytes);
  void write(std::string_view text) { write(std::as_bytes(std::span(text))); }
  void finish();  // fsync and close

 private:
  fs::path path_;
  int fd_ = -1;
};

// Overwrites bytes of a file that is there already, from `offset` on, in several pieces; finish() syncs. Throws Error(disk).
class FilePatcher {
 public:
  explicit FilePatcher(fs::path const& path);
  ~FilePatcher();
  FilePatcher(FilePatcher const&) = delete;
  FilePatcher& operator=(FilePatcher const&) = delete;
  void write(size_t offset, std::span<std::byte const> bytes);
  void finish();

 private:
  fs::path path_;
  int fd_ = -1;
};

uint64_t checksum(std::span<std::byte const> bytes);  // XXH3-64
uint64_t checksum_file(fs::path const& path);
std::string hex(uint64_t value);  // 16 digits

// What a file system tells of a file's content: whoever changes the content changes one of these, whatever time is set afterwards. Times in
// nanoseconds.
struct FileStamp {
  int64_t bytes = 0, inode = 0;
  int64_t modified = 0, changed = 0;  // mtime, and ctime, which also moving and setting the former change
  std::string text() const;
};
FileStamp stamp_of(fs::path const& path);  // throws Error(data)

// Read-only memory map of a whole file.
class MappedFile {
 public:
  explicit MappedFile(fs::path const& path);
  ~MappedFile();
  MappedFile(MappedFile&&) noexcept;
  MappedFile& operator=(MappedFile&&) noexcept;
  std::span<std::byte const> bytes() const { return {data_, size_}; }

 private:
  std::byte const* data_ = nullptr;
  size_t size_ = 0;
};

// Gives back the memory of the pages that lie wholly in `bytes`, which belong to a MappedFile: they are read from the file again when they
// are looked at.
void forget_mapped(std::span<std::byte const> bytes);

// An advisory lock (flock) on `path`, held for the object's life; waits unless `wait` is false, then throws Error(disk). Throws Stopped
// when the program is asked to stop while it waits. A file system without locks is warned of, and nothing is held.
class FileLock {
 public:
  enum class Mode { exclusive, shared };  // shared: several may hold it at a time, and no exclusive one beside them
  explicit FileLock(fs::path const& path, bool wait = true, Mode mode = Mode::exclusive);
  ~FileLock();
  FileLock(FileLock const&) = delete;

 private:
  int fd_ = -1;
};

// Whether some process holds a FileLock on `path`, without taking it. False where the system does not say (/proc/locks).
bool is_locked(fs::path const& path);

fs::path home_folder();                         // $HOME, else the user database's; empty where there is none
fs::path expand_user(std::string const& path);  // "~/x" -> "$HOME/x"; throws Error(config) where there is no home folder
// std::filesystem gives "x" an empty parent folder and "x/" an empty file name, which is not what a person means.
fs::path without_last_slash(fs::path const& path);  // "x/" -> "x"
fs::path folder_of(fs::path const& path);           // the folder that holds it: "." for "x" and for "x/"
// The path of a new file, as a person gave it by `option`. Throws Error(config) where only a folder can have such a path.
fs::path output_file(std::string const& path, std::string const& option);

}  // namespace isobath
