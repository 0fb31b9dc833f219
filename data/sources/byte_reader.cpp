#include "data/sources/byte_reader.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "core/error.h"

namespace isobath {
namespace {

constexpr size_t buffered_bytes = 1 << 17;

[[noreturn]] void cannot_read(fs::path const& path) {
  throw Error(ExitCode::data, "cannot read " + path.string() + ": " + std::strerror(errno));
}

class FileReader : public ByteReader {
 public:
  explicit FileReader(fs::path const& path) : path_(path), file_(std::fopen(path.c_str(), "rbe"), &std::fclose) {
    if (!file_) cannot_read(path);
  }
  size_t read(char* out, size_t capacity) override {
    size_t const got = std::fread(out, 1, capacity, file_.get());
    if (got < capacity && std::ferror(file_.get())) cannot_read(path_);
    return got;
  }

 private:
  fs::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

// Reads the next bytes into `buffer`; false at the end.
bool refill(ByteReader& reader, std::string& buffer) {
  buffer.resize(buffered_bytes);
  buffer.resize(reader.read(buffer.data(), buffer.size()));
  return !buffer.empty();
}

}  // namespace

std::unique_ptr<ByteReader> open_bytes(fs::path const& path) { return std::make_unique<FileReader>(path); }

std::string read_all(ByteReader& reader) {
  std::string content;
  size_t size = 0;
  do {
    content.resize(std::max<size_t>(size * 2, 1 << 16));
    size_t const got = reader.read(content.data() + size, content.size() - size);
    if (got == 0) break;
    size += got;
  } while (true);
  content.resize(size);
  return content;
}

bool LineReader::next(std::string& line) {
  line.clear();
  for (bool any = false;;) {
    if (position_ == buffer_.size()) {
      position_ = 0;
      if (!refill(reader_, buffer_)) {
        number_ += any;
        return any;
      }
    }
    any = true;
    size_t const end = buffer_.find('\n', position_);
    line.append(buffer_, position_, end == std::string::npos ? std::string::npos : end - position_);
    position_ = end == std::string::npos ? buffer_.size() : end + 1;
    if (end != std::string::npos) {
      ++number_;
      return true;
    }
  }
}

int CharacterReader::peek() {
  if (position_ == buffer_.size()) {
    position_ = 0;
    if (!refill(reader_, buffer_)) return end;
  }
  return static_cast<unsigned char>(buffer_[position_]);
}

int CharacterReader::get() {
  int const next = peek();
  if (next == end) return end;
  ++position_;
  line_ += next == '\n';
  column_ = next == '\n' ? 1 : column_ + 1;
  return next;
}

}  // namespace isobath
