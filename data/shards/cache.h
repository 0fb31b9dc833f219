#pragma once
// The cache of prepared data: <root>/<key>/{data.json, tokenizer.model, train-*.shard, valid-*.shard}, a folder that is whole or not there;
// <root>/<key>.lock, held while it is made; <root>/index/<fingerprint of file names, sizes and times>, which holds a key, so that sources
// that did not change are not read again.

#include <cstdint>
#include <optional>
#include <string>

#include "config/config.h"
#include "data/prepare.h"
#include "data/sources/sources.h"

namespace isobath {

// Part of every key: increase it when the same text and settings yield other tokens or files.
constexpr int prepared_format = 1;

// Bytes that are hashed together; every field is delimited.
class KeyText {
 public:
  KeyText& add(std::string const& text);
  KeyText& add(int64_t value) { return add(std::to_string(value)); }
  std::string key() const;  // 16 hex digits

 private:
  std::string text_;
};

fs::path cache_root(DataConfig const& config);
void add_tokenizer_settings(KeyText& key, TokenizerConfig const& config);  // reads the file when `kind` is a path

// Names, sizes and times of the files, and the settings.
std::string index_name(std::vector<SourceFile> const& train, std::vector<SourceFile> const& valid, DataConfig const&,
                       TokenizerConfig const&);
std::optional<std::string> read_index(fs::path const& root, std::string const& name);
void write_index(fs::path const& root, std::string const& name, std::string const& key);

// The prepared data of `folder`; nullopt when there are none. Throws Error(data) when they are damaged.
// Shards are compared with their checksums: up to `always_verified_bytes` of them every time, which takes a fraction of a second; more of
// them once, and again when they change.
std::optional<PreparedData> open_prepared(fs::path const& folder, int64_t always_verified_bytes = int64_t{1} << 30);
// Writes data.json beside tokenizer and shards; open_prepared() reads it back.
void write_summary(fs::path const& folder, PreparedData const& data, DataConfig const& config);

}  // namespace isobath
