#pragma once
// A file that should hold text, as a stream: unpacked where its first bytes say that it is compressed, without its byte order mark.

#include <string>
#include <string_view>

#include "data/sources/packed.h"

namespace isobath {

class TextFile : public ByteReader {
 public:
  // Throws Error(data) naming the path: it cannot be read, or its name says compressed and its content does not.
  explicit TextFile(fs::path const& path);
  size_t read(char* out, size_t capacity) override;

  std::string_view beginning() const { return beginning_; }  // its first 8 KiB, or all of it
  bool is_packed() const { return packing_ != Packing::none; }
  // What its beginning shows that is no UTF-8 text, for a message: "UTF-16 text ...", "a PDF file"; empty: it looks like text.
  std::string why_no_text() const;
  void refuse_what_is_no_text() const;  // throws Error(data)

 private:
  fs::path path_;
  std::unique_ptr<ByteReader> bytes_;
  Packing packing_ = Packing::none;
  std::string beginning_;
};

}  // namespace isobath
