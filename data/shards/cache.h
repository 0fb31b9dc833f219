#pragma once
// The cache of prepared data:
//   <root>/<key>/        data.json, tokenizer.model, train-*.shard and valid-*.shard; the folder is renamed into place once it is complete
//   <root>/<key>.lock    locked while that folder is made
//   <root>/index/<name>  holds the key; <name> hashes file names, stamps and settings, so that unchanged sources are not read again

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

#include "config/config.h"
#include "data/prepare.h"
#include "data/sources/sources.h"

namespace isobath {

// Part of every key: increase it when a new version of the program makes other tokens or files of the same text and settings.
constexpr int prepared_format = 1;

// Collects the fields of a cache key and hashes them; each field is stored with its length, so that neighbouring fields cannot run
// together.
class KeyText {
 public:
  KeyText& add(std::string const& text);
  KeyText& add(int64_t value) { return add(std::to_string(value)); }
  std::string key() const;  // 16 hex digits

 private:
  std::string text_;
};

// The folder that data.cache_dir names; auto: below $XDG_CACHE_HOME or ~/.cache.
fs::path cache_root(DataConfig const& config);
// The same, or a folder of this user's below the temporary one, with a warning, where `auto` finds no home or none that can be written.
// Throws Error(disk) when that belongs to somebody else.
fs::path writable_cache_root(DataConfig const& config);
void add_tokenizer_settings(KeyText& key, TokenizerConfig const& config);  // reads the tokenizer when `kind` is a path

// File name inside index/: a hash of the files' names and stamps and of the settings.
std::string index_name(std::vector<SourceFile> const& train, std::vector<SourceFile> const& valid, DataConfig const&,
                       TokenizerConfig const&);
std::optional<std::string> read_index(fs::path const& root, std::string const& name);
void write_index(fs::path const& root, std::string const& name, std::string const& key);

// Opens the prepared data in `folder`; nullopt when there is no such folder. Throws Error(data) when they are damaged.
// Shards of up to `always_verified_bytes` in all are compared with their checksums every time, which takes a fraction of a second; larger
// data are compared once, and again when a file's stamp changes.
std::optional<PreparedData> open_prepared(fs::path const& folder, int64_t always_verified_bytes = int64_t{1} << 30);
// The data of a key: those in the cache, or what `make` writes into a folder that is renamed into place when it is complete. A file lock
// lets one of several processes make them.
PreparedData open_or_make(fs::path const& root, std::string const& key, std::function<void(fs::path const& folder)> const& make);
// As open_prepared, but returns nullopt for damaged data. complain: whether to log a warning then.
std::optional<PreparedData> open_if_undamaged(fs::path const& folder, bool complain);
// Writes data.json beside tokenizer and shards; open_prepared() reads it back.
void write_summary(fs::path const& folder, PreparedData const& data, DataConfig const& config);

}  // namespace isobath
