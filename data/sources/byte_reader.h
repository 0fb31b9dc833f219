#pragma once
// Bytes as a stream, and its lines.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>

#include "core/files.h"

namespace isobath {

class ByteReader {
 public:
  virtual ~ByteReader() = default;
  virtual size_t read(char* out, size_t capacity) = 0;  // 0: end. Throws Error(data) on damage, truncation included.
};

std::unique_ptr<ByteReader> open_bytes(fs::path const& path);  // as they are on disk; throws Error(data) naming the path
std::string read_all(ByteReader& reader);

// Lines without their '\n'.
class LineReader {
 public:
  explicit LineReader(ByteReader& reader) : reader_(reader) {}
  bool next(std::string& line);
  int64_t number() const { return number_; }  // of the line last read, from 1

 private:
  ByteReader& reader_;
  std::string buffer_;
  size_t position_ = 0;
  int64_t number_ = 0;
};

// Bytes one at a time, with the place of the next one.
class CharacterReader {
 public:
  static constexpr int end = -1;
  explicit CharacterReader(ByteReader& reader) : reader_(reader) {}
  int peek();  // the next byte, or end
  int get();
  int64_t line() const { return line_; }      // from 1
  int64_t column() const { return column_; }  // from 1, in bytes

 private:
  ByteReader& reader_;
  std::string buffer_;
  size_t position_ = 0;
  int64_t line_ = 1, column_ = 1;
};

}  // namespace isobath
