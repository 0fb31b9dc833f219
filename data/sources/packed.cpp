#include "data/sources/packed.h"

#include <bzlib.h>
#include <lzma.h>
#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <new>
#include <stdexcept>

#include "core/error.h"

namespace isobath {
namespace {

using namespace std::string_view_literals;

struct PackedFormat {
  Packing packing;
  char const* name;
  std::string_view magic;
  std::array<char const*, 2> extensions;  // the usual one first
};

constexpr std::array<PackedFormat, 4> formats{{{Packing::gzip, "gzip", "\x1f\x8b"sv, {".gz", ".gzip"}},
                                               {Packing::zstd, "zstd", "\x28\xb5\x2f\xfd"sv, {".zst", ".zstd"}},
                                               {Packing::xz,
                                                "xz",
                                                "\xfd"
                                                "7zXZ\0"sv,
                                                {".xz", ".xz"}},
                                               {Packing::bzip2, "bzip2", "BZh"sv, {".bz2", ".bz"}}}};

constexpr uint64_t most_memory = uint64_t{2} << 30;  // bytes for the dictionary of an xz file

struct Damage : std::runtime_error {
  using std::runtime_error::runtime_error;
};

class Decoder {
 public:
  virtual ~Decoder() = default;
  // Takes bytes away from `input`, returns how many it has written to `out`. `ended`: a member, frame or stream has ended; the next call
  // begins another one. Throws Damage.
  virtual size_t decode(std::string_view& input, char* out, size_t capacity, bool& ended) = 0;
};

class GzipDecoder : public Decoder {
 public:
  GzipDecoder() { inflateInit2(&stream_, 15 + 16); }
  ~GzipDecoder() override { inflateEnd(&stream_); }
  size_t decode(std::string_view& input, char* out, size_t capacity, bool& ended) override {
    stream_.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(input.data()));
    stream_.avail_in = static_cast<uInt>(input.size());
    stream_.next_out = reinterpret_cast<Bytef*>(out);
    auto const room = static_cast<uInt>(std::min<size_t>(capacity, 1 << 30));
    stream_.avail_out = room;
    int const result = inflate(&stream_, Z_NO_FLUSH);
    if (result != Z_OK && result != Z_STREAM_END && result != Z_BUF_ERROR) throw Damage(stream_.msg ? stream_.msg : "it cannot be decoded");
    input.remove_prefix(input.size() - stream_.avail_in);
    ended = result == Z_STREAM_END;
    if (ended) inflateReset(&stream_);
    return room - stream_.avail_out;
  }

 private:
  z_stream stream_{};
};

class ZstdDecoder : public Decoder {
 public:
  ZstdDecoder() : stream_(ZSTD_createDStream(), &ZSTD_freeDStream) {
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, 31);  // accepts files made with `zstd --long=31`, too
  }
  size_t decode(std::string_view& input, char* out, size_t capacity, bool& ended) override {
    ZSTD_inBuffer in{input.data(), input.size(), 0};
    ZSTD_outBuffer target{out, capacity, 0};
    size_t const pending = ZSTD_decompressStream(stream_.get(), &target, &in);
    if (ZSTD_isError(pending)) throw Damage(ZSTD_getErrorName(pending));
    input.remove_prefix(in.pos);
    ended = pending == 0;
    return target.pos;
  }

 private:
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
};

class XzDecoder : public Decoder {
 public:
  XzDecoder() { begin(); }
  ~XzDecoder() override { lzma_end(&stream_); }
  size_t decode(std::string_view& input, char* out, size_t capacity, bool& ended) override {
    stream_.next_in = reinterpret_cast<uint8_t const*>(input.data());
    stream_.avail_in = input.size();
    stream_.next_out = reinterpret_cast<uint8_t*>(out);
    stream_.avail_out = capacity;
    lzma_ret const result = lzma_code(&stream_, LZMA_RUN);
    if (result == LZMA_MEMLIMIT_ERROR) throw Damage("its dictionary needs more than 2 GiB of memory");
    if (result != LZMA_OK && result != LZMA_STREAM_END && result != LZMA_BUF_ERROR)
      throw Damage(result == LZMA_OPTIONS_ERROR ? "it uses options that liblzma does not know" : "its checksums or headers are wrong");
    input.remove_prefix(input.size() - stream_.avail_in);
    size_t const written = capacity - stream_.avail_out;
    ended = result == LZMA_STREAM_END;
    if (ended) begin();
    return written;
  }

 private:
  void begin() {
    if (lzma_stream_decoder(&stream_, most_memory, 0) != LZMA_OK) throw std::bad_alloc();
  }
  lzma_stream stream_ = LZMA_STREAM_INIT;
};

class Bzip2Decoder : public Decoder {
 public:
  Bzip2Decoder() { begin(); }
  ~Bzip2Decoder() override { BZ2_bzDecompressEnd(&stream_); }
  size_t decode(std::string_view& input, char* out, size_t capacity, bool& ended) override {
    stream_.next_in = const_cast<char*>(input.data());
    stream_.avail_in = static_cast<unsigned>(input.size());
    stream_.next_out = out;
    auto const room = static_cast<unsigned>(std::min<size_t>(capacity, 1 << 30));
    stream_.avail_out = room;
    int const result = BZ2_bzDecompress(&stream_);
    if (result != BZ_OK && result != BZ_STREAM_END) throw Damage("its checksums or headers are wrong");
    input.remove_prefix(input.size() - stream_.avail_in);
    size_t const written = room - stream_.avail_out;
    ended = result == BZ_STREAM_END;
    if (ended) {
      BZ2_bzDecompressEnd(&stream_);
      begin();
    }
    return written;
  }

 private:
  void begin() {
    stream_ = {};
    if (BZ2_bzDecompressInit(&stream_, 0, 0) != BZ_OK) throw std::bad_alloc();
  }
  bz_stream stream_{};
};

std::unique_ptr<Decoder> make_decoder(Packing packing) {
  switch (packing) {
    case Packing::zstd:
      return std::make_unique<ZstdDecoder>();
    case Packing::xz:
      return std::make_unique<XzDecoder>();
    case Packing::bzip2:
      return std::make_unique<Bzip2Decoder>();
    case Packing::gzip:
    case Packing::none:
      break;
  }
  return std::make_unique<GzipDecoder>();
}

class Unpacker : public ByteReader {
 public:
  Unpacker(Packing packing, std::unique_ptr<ByteReader> packed, fs::path const& path)
      : path_(path), name_(name_of(packing)), packed_(std::move(packed)), decoder_(make_decoder(packing)), buffer_(1 << 17, '\0') {}

  size_t read(char* out, size_t capacity) override {
    for (size_t got = 0; capacity > 0;) {
      if (input_.empty()) {
        input_ = std::string_view(buffer_.data(), packed_->read(buffer_.data(), buffer_.size()));
        if (input_.empty() && !ended_) fail("the " + name_ + " data end too early");
        if (input_.empty()) return 0;
      }
      if (ended_) input_.remove_prefix(std::min(input_.find_first_not_of('\0'), input_.size()));  // padding, as tapes have it
      if (!input_.empty()) got = decode(out, capacity);
      if (got > 0) return got;
    }
    return 0;
  }

 private:
  [[noreturn]] void fail(std::string const& why) const { throw Error(ExitCode::data, "cannot read " + path_.string() + ": " + why); }

  size_t decode(char* out, size_t capacity) {
    try {
      return decoder_->decode(input_, out, capacity, ended_);
    } catch (Damage const& damage) {
      fail("damaged " + name_ + " data: " + damage.what());
    }
  }

  fs::path path_;
  std::string name_;
  std::unique_ptr<ByteReader> packed_;
  std::unique_ptr<Decoder> decoder_;
  std::string buffer_;
  std::string_view input_;
  bool ended_ = false;  // between two members, frames or streams
};

PackedFormat const* format_named(std::string const& extension) {
  for (PackedFormat const& format : formats)
    if (std::find(format.extensions.begin(), format.extensions.end(), extension) != format.extensions.end()) return &format;
  return nullptr;
}

}  // namespace

Packing packing_of(std::string_view beginning) {
  // zstd also begins with a frame that is to be skipped, where pzstd has written it.
  if (beginning.size() >= 4 && (beginning[0] & 0xf0) == 0x50 && beginning.substr(1, 3) == "\x2a\x4d\x18") return Packing::zstd;
  for (PackedFormat const& format : formats) {
    if (!beginning.starts_with(format.magic)) continue;
    // A text may begin with the letters of bzip2, but not with its first block, nor the end of an empty stream.
    std::string_view const block = beginning.substr(std::min<size_t>(4, beginning.size()), 6);
    if (format.packing != Packing::bzip2 || block == "1AY&SY" || block == "\x17\x72\x45\x38\x50\x90") return format.packing;
  }
  return Packing::none;
}

std::string lower_extension(fs::path const& path) {
  std::string extension = path.extension().string();
  std::transform(extension.begin(), extension.end(), extension.begin(), [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return extension;
}

Packing packing_of_name(fs::path const& path) {
  PackedFormat const* const format = format_named(lower_extension(path));
  return format ? format->packing : Packing::none;
}

char const* name_of(Packing packing) {
  for (PackedFormat const& format : formats)
    if (format.packing == packing) return format.name;
  return "plain";
}

std::vector<std::string> packed_extensions() {
  std::vector<std::string> extensions;
  for (PackedFormat const& format : formats) extensions.emplace_back(format.extensions.front());
  return extensions;
}

fs::path without_packing(fs::path const& path) {
  return packing_of_name(path) == Packing::none ? path : fs::path(path).replace_extension();
}

std::unique_ptr<ByteReader> unpack(Packing packing, std::unique_ptr<ByteReader> packed, fs::path const& path) {
  return std::make_unique<Unpacker>(packing, std::move(packed), path);
}

}  // namespace isobath
