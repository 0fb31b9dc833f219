#include "data/sources/byte_reader.h"

#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "core/error.h"

namespace isobath {
namespace {

[[noreturn]] void cannot_read(fs::path const& path, std::string const& why) {
  throw Error(ExitCode::data, "cannot read " + path.string() + ": " + why);
}

class PlainReader : public ByteReader {
 public:
  explicit PlainReader(fs::path const& path) : path_(path), file_(std::fopen(path.c_str(), "rbe"), &std::fclose) {
    if (!file_) cannot_read(path, std::strerror(errno));
  }
  size_t read(char* out, size_t capacity) override {
    size_t const got = std::fread(out, 1, capacity, file_.get());
    if (got < capacity && std::ferror(file_.get())) cannot_read(path_, std::strerror(errno));
    return got;
  }

 private:
  fs::path path_;
  std::unique_ptr<std::FILE, int (*)(std::FILE*)> file_;
};

class GzipReader : public ByteReader {
 public:
  explicit GzipReader(fs::path const& path) : path_(path), file_(gzopen(path.c_str(), "rbe")) {
    if (!file_) cannot_read(path, std::strerror(errno));
    gzbuffer(file_, 1 << 17);
    if (gzdirect(file_)) {  // not gzip: zlib would return its bytes unchanged
      gzclose(file_);
      cannot_read(path, "it is not in gzip format");
    }
  }
  ~GzipReader() override { gzclose(file_); }
  size_t read(char* out, size_t capacity) override {
    int const got = gzread(file_, out, static_cast<unsigned>(std::min<size_t>(capacity, 1 << 30)));
    if (got > 0) return static_cast<size_t>(got);
    int error = Z_OK;
    char const* const text = gzerror(file_, &error);
    if (error == Z_BUF_ERROR) cannot_read(path_, "the gzip data end too early");
    if (got < 0 || error != Z_OK) cannot_read(path_, error == Z_ERRNO ? std::strerror(errno) : std::string("damaged gzip data: ") + text);
    return 0;
  }

 private:
  fs::path path_;
  gzFile file_;
};

class ZstdReader : public ByteReader {
 public:
  explicit ZstdReader(fs::path const& path)
      : path_(path), plain_(path), stream_(ZSTD_createDStream(), &ZSTD_freeDStream), buffer_(ZSTD_DStreamInSize()) {
    ZSTD_DCtx_setParameter(stream_.get(), ZSTD_d_windowLogMax, 31);  // accepts files made with `zstd --long=31`, too
  }
  size_t read(char* out, size_t capacity) override {
    ZSTD_outBuffer target{out, capacity, 0};
    while (target.pos == 0 && capacity > 0) {
      if (input_.pos == input_.size) {
        input_ = {buffer_.data(), plain_.read(buffer_.data(), buffer_.size()), 0};
        if (input_.size == 0) {
          if (pending_ != 0) cannot_read(path_, "the zstd data end too early");
          return 0;
        }
      }
      pending_ = ZSTD_decompressStream(stream_.get(), &target, &input_);
      if (ZSTD_isError(pending_)) cannot_read(path_, std::string("damaged zstd data: ") + ZSTD_getErrorName(pending_));
    }
    return target.pos;
  }

 private:
  fs::path path_;
  PlainReader plain_;
  std::unique_ptr<ZSTD_DStream, size_t (*)(ZSTD_DStream*)> stream_;
  std::vector<char> buffer_;
  ZSTD_inBuffer input_{nullptr, 0, 0};
  size_t pending_ = 1;  // 0 between frames; starts at 1, because an empty file is not a zstd file
};

}  // namespace

std::unique_ptr<ByteReader> open_bytes(fs::path const& path) {
  std::string const extension = path.extension().string();
  if (extension == ".gz") return std::make_unique<GzipReader>(path);
  if (extension == ".zst") return std::make_unique<ZstdReader>(path);
  return std::make_unique<PlainReader>(path);
}

fs::path without_compression(fs::path const& path) {
  std::string const extension = path.extension().string();
  return extension == ".gz" || extension == ".zst" ? fs::path(path).replace_extension() : path;
}

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
      buffer_.resize(1 << 17);
      buffer_.resize(reader_.read(buffer_.data(), buffer_.size()));
      position_ = 0;
      if (buffer_.empty()) {
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

}  // namespace isobath
