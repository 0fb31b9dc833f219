#include "data/shards/shards.h"

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <functional>
#include <limits>

#include "core/error.h"

namespace isobath {
namespace {

static_assert(std::endian::native == std::endian::little, "shards are little-endian and mapped as they are");

// File: Header, u64 document_starts[documents], u16 or i32 tokens[tokens]; from version 2 on u8 targets[(tokens + 7) / 8], a bit for each
// token, the lowest first. Nothing follows. Shards without targets are still written as version 1.
constexpr uint32_t version_with_targets = 2;

struct Header {
  std::array<char, 8> magic{'I', 'S', 'O', 'S', 'H', 'A', 'R', 'D'};
  uint32_t version = 1;
  uint32_t token_bytes = 2;
  uint64_t tokens = 0, documents = 0, text_bytes = 0;
  std::array<char, 64> fingerprint{};  // zero-terminated
  uint64_t payload_checksum = 0;       // of all that follows the header
  uint64_t header_checksum = 0;        // of the fields above
};
static_assert(sizeof(Header) == 120 && std::is_trivially_copyable_v<Header>);

uint64_t own_checksum(Header const& header) {
  return checksum(std::as_bytes(std::span(&header, 1)).first(offsetof(Header, header_checksum)));
}

[[noreturn]] void damaged(fs::path const& path, std::string const& what) {
  throw Error(ExitCode::data, "token shard " + path.string() + " is not whole: " + what);
}

template <typename T>
T const* tokens_of(std::span<std::byte const> file, int64_t documents) {
  return reinterpret_cast<T const*>(file.data() + sizeof(Header) + static_cast<size_t>(documents) * sizeof(uint64_t));
}

uint64_t target_bytes(Header const& header) { return header.version < version_with_targets ? 0 : (header.tokens + 7) / 8; }

// The bytes after the tokens.
std::vector<std::byte> pack_targets(std::vector<std::vector<bool>> const& targets, uint64_t tokens) {
  std::vector<std::byte> packed((tokens + 7) / 8);
  size_t token = 0;
  for (auto const& document : targets) {
    for (bool const is_target : document) {
      if (is_target) packed[token / 8] |= std::byte{1} << (token % 8);
      ++token;
    }
    ++token;  // document_end
  }
  return packed;
}

// The bytes after the header.
template <typename T>
std::vector<std::byte> make_payload(std::vector<std::vector<int32_t>> const& documents, int32_t document_end, size_t tokens) {
  std::vector<std::byte> payload(documents.size() * sizeof(uint64_t) + tokens * sizeof(T));
  std::byte* start_out = payload.data();
  std::byte* token_out = payload.data() + documents.size() * sizeof(uint64_t);
  uint64_t start = 0;
  auto const put = [&](int32_t id) {
    T const value = static_cast<T>(id);
    std::memcpy(token_out, &value, sizeof value);
    token_out += sizeof value;
  };
  for (auto const& document : documents) {
    std::memcpy(start_out, &start, sizeof start);
    start_out += sizeof start;
    for (int32_t const id : document) put(id);
    put(document_end);
    start += document.size() + 1;
  }
  return payload;
}

}  // namespace

void write_shard(fs::path const& path, std::vector<std::vector<int32_t>> const& documents, int32_t document_end, int64_t text_bytes,
                 std::string const& tokenizer_fingerprint, std::vector<std::vector<bool>> const& targets) {
  Header header;
  int32_t largest = document_end;
  for (auto const& document : documents) {
    header.tokens += document.size() + 1;
    for (int32_t const id : document) largest = std::max(largest, id);
  }
  header.documents = documents.size();
  header.text_bytes = static_cast<uint64_t>(text_bytes);
  bool const narrow = largest <= std::numeric_limits<uint16_t>::max();
  header.token_bytes = narrow ? 2 : 4;
  tokenizer_fingerprint.copy(header.fingerprint.data(), header.fingerprint.size() - 1);
  std::vector<std::byte> payload = narrow ? make_payload<uint16_t>(documents, document_end, header.tokens)
                                          : make_payload<int32_t>(documents, document_end, header.tokens);
  if (!targets.empty()) {
    header.version = version_with_targets;
    std::vector<std::byte> const packed = pack_targets(targets, header.tokens);
    payload.insert(payload.end(), packed.begin(), packed.end());
  }
  header.payload_checksum = checksum(payload);
  header.header_checksum = own_checksum(header);

  fs::path temporary = path;
  temporary += ".tmp";
  FileWriter file(temporary);
  file.write(std::as_bytes(std::span(&header, 1)));
  file.write(payload);
  file.finish();
  std::error_code error;
  fs::rename(temporary, path, error);
  if (error) throw Error(ExitCode::disk, "cannot write " + path.string() + ": " + error.message());
  sync_folder(folder_of(path));
}

Shard::Shard(fs::path const& path, bool verify) : file_(path) {
  auto const bytes = file_.bytes();
  Header header;
  if (bytes.size() < sizeof header) damaged(path, "it has only " + std::to_string(bytes.size()) + " bytes");
  std::memcpy(&header, bytes.data(), sizeof header);
  Header const blank;
  if (header.magic != blank.magic) damaged(path, "it does not begin like a shard");
  if (header.version < blank.version || header.version > version_with_targets) {
    damaged(path, "its format version is " + std::to_string(header.version) + ", this program reads " + std::to_string(blank.version) +
                      " to " + std::to_string(version_with_targets));
  }
  if (header.header_checksum != own_checksum(header)) damaged(path, "its header is damaged");
  // Before they are multiplied.
  bool const fits =
      (header.token_bytes == 2 || header.token_bytes == 4) && header.documents <= bytes.size() && header.tokens <= bytes.size();
  if (!fits || header.fingerprint.back() != '\0') damaged(path, "its header promises what no shard holds");
  uint64_t const expected = sizeof header + header.documents * sizeof(uint64_t) + header.tokens * header.token_bytes + target_bytes(header);
  if (expected != bytes.size()) {
    damaged(path, "it has " + std::to_string(bytes.size()) + " bytes, its header promises " + std::to_string(expected));
  }
  if (verify && checksum(bytes.subspan(sizeof header)) != header.payload_checksum) damaged(path, "its checksum does not match");
  info_.tokens = static_cast<int64_t>(header.tokens);
  info_.documents = static_cast<int64_t>(header.documents);
  info_.bytes = static_cast<int64_t>(header.text_bytes);
  info_.token_bytes = static_cast<int>(header.token_bytes);
  info_.has_targets = header.version >= version_with_targets;
  info_.tokenizer_fingerprint = header.fingerprint.data();
  if (!verify) return;
  auto const starts = document_starts();
  bool const ascend = std::adjacent_find(starts.begin(), starts.end(), std::greater_equal()) == starts.end();
  if (!ascend || (!starts.empty() && starts.back() >= header.tokens)) damaged(path, "its documents do not follow each other");
}

int32_t Shard::token(int64_t index) const {
  int64_t value = 0;
  copy(index, std::span(&value, 1));
  return static_cast<int32_t>(value);
}

void Shard::copy(int64_t first, std::span<int64_t> out) const {
  if (info_.token_bytes == 2) {
    std::copy_n(tokens_of<uint16_t>(file_.bytes(), info_.documents) + first, out.size(), out.begin());
  } else {
    std::copy_n(tokens_of<int32_t>(file_.bytes(), info_.documents) + first, out.size(), out.begin());
  }
}

bool Shard::is_target(int64_t index) const {
  if (!info_.has_targets) return true;
  std::byte const* packed = file_.bytes().data() + file_.bytes().size() - (info_.tokens + 7) / 8;
  return (packed[index / 8] >> (index % 8) & std::byte{1}) != std::byte{0};
}

std::span<uint64_t const> Shard::document_starts() const {
  auto const* starts = reinterpret_cast<uint64_t const*>(file_.bytes().data() + sizeof(Header));
  return {starts, static_cast<size_t>(info_.documents)};
}

TokenStream::TokenStream(std::vector<fs::path> const& shards) {
  for (fs::path const& path : shards) {
    shards_.emplace_back(path);
    auto const& [first, added] = std::pair(shards_.front().info(), shards_.back().info());
    if (first.tokenizer_fingerprint != added.tokenizer_fingerprint) {
      throw Error(ExitCode::data, "token shards " + shards.front().string() + " and " + path.string() +
                                      " come from different tokenizers (" + first.tokenizer_fingerprint + ", " +
                                      added.tokenizer_fingerprint + ")");
    }
    begins_.push_back(size_);
    size_ += added.tokens;
  }
}

int64_t TokenStream::documents() const {
  int64_t sum = 0;
  for (Shard const& shard : shards_) sum += shard.info().documents;
  return sum;
}

int64_t TokenStream::text_bytes() const {
  int64_t sum = 0;
  for (Shard const& shard : shards_) sum += shard.info().bytes;
  return sum;
}

void TokenStream::check_range(int64_t first, int64_t last) const {
  if (first < 0 || last > size_)
    throw Error(ExitCode::data,
                "tokens " + std::to_string(first) + " to " + std::to_string(last) + " are outside of a stream of " + std::to_string(size_));
}

size_t TokenStream::shard_at(int64_t token) const {
  return static_cast<size_t>(std::upper_bound(begins_.begin(), begins_.end(), token) - begins_.begin()) - 1;
}

bool TokenStream::has_targets() const {
  return std::any_of(shards_.begin(), shards_.end(), [](Shard const& shard) { return shard.info().has_targets; });
}

std::vector<bool> TokenStream::targets(int64_t first, int64_t last) const {
  check_range(first, last);
  std::vector<bool> found;
  for (size_t shard = last > first ? shard_at(first) : 0; first < last; ++shard)
    for (int64_t const end = std::min(last, begins_[shard] + shards_[shard].info().tokens); first < end; ++first)
      found.push_back(shards_[shard].is_target(first - begins_[shard]));
  return found;
}

void TokenStream::copy(int64_t first, std::span<int64_t> out) const {
  if (out.empty()) return;
  check_range(first, first + static_cast<int64_t>(out.size()));
  for (size_t shard = shard_at(first); !out.empty(); ++shard) {
    int64_t const local = first - begins_[shard];
    auto const count = std::min<size_t>(out.size(), static_cast<size_t>(shards_[shard].info().tokens - local));
    shards_[shard].copy(local, out.first(count));
    out = out.subspan(count);
    first += static_cast<int64_t>(count);
  }
}

std::vector<int64_t> TokenStream::document_starts_in(int64_t first, int64_t last) const {
  std::vector<int64_t> found;
  for (size_t i = 0; i < shards_.size() && begins_[i] < last; ++i) {
    if (begins_[i] + shards_[i].info().tokens <= first) continue;
    auto const starts = shards_[i].document_starts();
    auto const local = static_cast<uint64_t>(std::max<int64_t>(first - begins_[i], 0));
    for (auto it = std::lower_bound(starts.begin(), starts.end(), local); it != starts.end(); ++it) {
      int64_t const start = begins_[i] + static_cast<int64_t>(*it);
      if (start >= last) break;
      found.push_back(start);
    }
  }
  return found;
}

}  // namespace isobath
