#pragma once
// Bytes of a plain, gzip or zstd file, as a stream.

#include <cstddef>
#include <memory>
#include <string>

#include "core/files.h"

namespace isobath {

class ByteReader {
 public:
  virtual ~ByteReader() = default;
  virtual size_t read(char* out, size_t capacity) = 0;  // 0: end. Throws Error(data) on damage, truncation included.
};

std::unique_ptr<ByteReader> open_bytes(fs::path const& path);  // by extension: .gz, .zst, anything else plain
fs::path without_compression(fs::path const& path);            // "a.jsonl.zst" -> "a.jsonl"
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

}  // namespace isobath
