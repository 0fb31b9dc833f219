#include "data/sources/text_file.h"

#include <algorithm>
#include <array>

#include "core/error.h"
#include "core/utf8.h"

namespace isobath {
namespace {

using namespace std::string_view_literals;

constexpr size_t sniffed_bytes = 8 << 10;

struct KnownFormat {
  size_t offset;
  std::string_view magic;
  char const* what;
};

// Files that people take for text sources. Most other binary files are known by their zero bytes.
constexpr std::array<KnownFormat, 12> known_formats{{
    {0, "\xff\xfe\0\0"sv, "UTF-32 text; 'iconv -f UTF-32 -t UTF-8' makes UTF-8 of it"},
    {0, "\xff\xfe"sv, "UTF-16 text; 'iconv -f UTF-16 -t UTF-8' makes UTF-8 of it"},
    {0, "\xfe\xff"sv, "UTF-16 text; 'iconv -f UTF-16 -t UTF-8' makes UTF-8 of it"},
    {0, "PAR1"sv, "a Parquet file; write its rows as .jsonl"},
    {0, "ARROW1"sv, "an Arrow file; write its rows as .jsonl"},
    {0, "%PDF-"sv, "a PDF file; 'pdftotext' takes its text out"},
    {0, "PK\x03\x04"sv, "a zip archive (.zip, .docx, .epub, .npz ...); unpack it first"},
    {257, "ustar"sv, "a tar archive; unpack it first"},
    {0, "7z\xbc\xaf\x27\x1c"sv, "a 7z archive; unpack it first"},
    {0, "Rar!\x1a\x07"sv, "a rar archive; unpack it first"},
    {0, "\x04\x22\x4d\x18"sv, "compressed by lz4; unpack it first"},
    {0, "\x1f\x9d"sv, "compressed by compress (.Z); unpack it first"},
}};

// Control characters that do not occur in text of any 8-bit encoding (the set that file(1) uses). NUL is checked separately.
bool is_control(char c) {
  auto const byte = static_cast<unsigned char>(c);
  return byte < 7 || (byte > 13 && byte < 32 && byte != 27) || byte == 127;
}

// The first `limit` bytes, or all of a shorter file. A single read() may return fewer, for example from a pipe.
std::string first_bytes(ByteReader& bytes, size_t limit) {
  std::string content(limit, '\0');
  size_t size = 0;
  for (size_t got = 1; got > 0 && size < limit; size += got) got = bytes.read(content.data() + size, limit - size);
  content.resize(size);
  return content;
}

// A stream whose first bytes have been read already: returns these, then the rest.
class Rejoined : public ByteReader {
 public:
  Rejoined(std::string first, std::unique_ptr<ByteReader> rest) : first_(std::move(first)), rest_(std::move(rest)) {}
  size_t read(char* out, size_t capacity) override {
    if (position_ == first_.size()) return rest_->read(out, capacity);
    size_t const taken = first_.copy(out, capacity, position_);
    position_ += taken;
    return taken;
  }

 private:
  std::string first_;
  std::unique_ptr<ByteReader> rest_;
  size_t position_ = 0;
};

}  // namespace

TextFile::TextFile(fs::path const& path) : path_(path), bytes_(open_bytes(path)) {
  beginning_ = first_bytes(*bytes_, sniffed_bytes);
  packing_ = packing_of(beginning_);
  if (Packing const named = packing_of_name(path); packing_ == Packing::none && named != Packing::none)
    throw Error(ExitCode::data, "cannot read " + path.string() + ": it is not in " + name_of(named) + " format, as its name says");
  if (is_packed()) {
    bytes_ = unpack(packing_, std::make_unique<Rejoined>(std::move(beginning_), std::move(bytes_)), path);
    beginning_ = first_bytes(*bytes_, sniffed_bytes);
  }
  beginning_.erase(0, byte_order_mark(beginning_));
  bytes_ = std::make_unique<Rejoined>(beginning_, std::move(bytes_));
}

size_t TextFile::read(char* out, size_t capacity) { return bytes_->read(out, capacity); }

std::string TextFile::why_no_text() const {
  for (KnownFormat const& format : known_formats)
    if (beginning_.size() >= format.offset && std::string_view(beginning_).substr(format.offset).starts_with(format.magic))
      return format.what;
  if (Packing const inside = packing_of(beginning_); inside != Packing::none)
    return std::string("compressed") + (is_packed() ? " twice" : "") + " (" + name_of(inside) + "); unpack it first";
  if (size_t const zero = beginning_.find('\0'); zero != std::string::npos)
    return "binary: byte " + std::to_string(zero + 1) +
           " is zero (UTF-16 text without a mark has such bytes, too: iconv makes UTF-8 of it)";
  auto const control = std::count_if(beginning_.begin(), beginning_.end(), is_control);
  if (static_cast<size_t>(control) * 32 > beginning_.size())
    return "binary: " + std::to_string(control) + " of its first " + std::to_string(beginning_.size()) + " bytes are control characters";
  return {};
}

void TextFile::refuse_what_is_no_text() const {
  if (std::string const why = why_no_text(); !why.empty())
    throw Error(ExitCode::data, "cannot read " + path_.string() + " as text: it is " + why);
}

}  // namespace isobath
