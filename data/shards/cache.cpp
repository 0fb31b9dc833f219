#include "data/shards/cache.h"

#include <unistd.h>

#include <bit>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "core/error.h"
#include "core/log.h"
#include "data/shards/verified.h"
#include "data/tokenizer/tokenizer.h"

namespace isobath {
namespace {

using Json = nlohmann::ordered_json;

void add_files(KeyText& key, std::vector<SourceFile> const& files) {
  key.add(static_cast<int64_t>(files.size()));
  for (SourceFile const& file : files) {
    std::error_code ignored;
    fs::path const absolute = fs::absolute(file.path, ignored);
    key.add(absolute.string()).add(file.stamp.text()).add(file.named).add(file.header);
  }
}

Json describe(std::vector<fs::path> const& shards, int64_t tokens, int64_t bytes) {
  Json files = Json::array();
  for (fs::path const& path : shards) {
    files.push_back({{"file", path.filename().string()}, {"bytes", static_cast<int64_t>(fs::file_size(path))}});
  }
  return {{"tokens", tokens}, {"bytes", bytes}, {"shards", files}};
}

// Opens the shards of one part (train or valid). Shards listed in `verified` are trusted; all others are compared with their checksums and
// added to the list (null: all are compared).
std::vector<fs::path> open_part(fs::path const& folder, Json const& part, std::string const& fingerprint, VerifiedFiles* verified,
                                int64_t& tokens, int64_t& bytes) {
  std::vector<fs::path> paths;
  tokens = bytes = 0;
  for (Json const& entry : part.at("shards")) {
    paths.push_back(folder / entry.at("file").get<std::string>());
    Shard const shard(paths.back(), !verified || !verified->contains(paths.back()));
    if (verified) verified->add(paths.back());
    if (shard.info().tokenizer_fingerprint != fingerprint) {
      throw Error(ExitCode::data, "token shard " + paths.back().string() + " was made by another tokenizer");
    }
    tokens += shard.info().tokens;
    bytes += shard.info().bytes;
  }
  if (paths.empty() || tokens != part.at("tokens").get<int64_t>() || bytes != part.at("bytes").get<int64_t>()) {
    throw Error(ExitCode::data, "its shards do not add up to what data.json says");
  }
  return paths;
}

int64_t shard_bytes(Json const& part) {
  int64_t bytes = 0;
  for (Json const& shard : part.at("shards")) bytes += shard.at("bytes").get<int64_t>();
  return bytes;
}

// Makes a folder and removes it at the end of the scope, unless it has been renamed.
struct TemporaryFolder {
  fs::path path;
  explicit TemporaryFolder(fs::path p) : path(std::move(p)) { fs::create_directories(path); }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

// Removes temporary folders of killed processes. This process holds the lock of `key`, so no other process uses them.
void remove_leftovers(fs::path const& root, std::string const& key) {
  std::error_code ignored;
  for (auto const& entry : fs::directory_iterator(root, ignored)) {
    if (entry.path().filename().string().starts_with(key + ".tmp-")) fs::remove_all(entry.path(), ignored);
  }
}

std::unique_ptr<FileLock> lock(fs::path const& path) {
  try {
    return std::make_unique<FileLock>(path, /*wait=*/false);
  } catch (Error const&) {
    log_info("waiting for another process that prepares the same data");
    return std::make_unique<FileLock>(path);
  }
}

// For those who have no home folder, or one that cannot be written.
fs::path temporary_cache() { return fs::temp_directory_path() / ("isobath-" + std::to_string(::geteuid())); }

}  // namespace

KeyText& KeyText::add(std::string const& text) {
  text_ += std::to_string(text.size()) + ":" + text;
  return *this;
}

std::string KeyText::key() const { return hex(checksum(std::as_bytes(std::span(text_)))); }

fs::path cache_root(DataConfig const& config) {
  if (config.cache_dir != "auto") return expand_user(config.cache_dir);
  char const* const cache = std::getenv("XDG_CACHE_HOME");
  if (cache && *cache) return fs::path(cache) / "isobath";
  fs::path const home = home_folder();
  return home.empty() ? temporary_cache() : home / ".cache" / "isobath";
}

fs::path writable_cache_root(DataConfig const& config) {
  fs::path const root = cache_root(config), temporary = temporary_cache();
  std::error_code error;
  fs::create_directories(root, error);
  if (!error && ::access(root.c_str(), W_OK) != 0) error = {errno, std::generic_category()};
  if (config.cache_dir != "auto" || (!error && root != temporary)) return root;
  log_warning("prepared data is kept in " + temporary.string() + ", because " +
              (root == temporary ? "there is no home folder" : root.string() + " cannot be written (" + error.message() + ")") +
              "; data.cache_dir names a place that lasts");
  fs::create_directories(temporary);
  fs::permissions(temporary, fs::perms::owner_all, error);
  if (error)  // of another user, who could change what is read from it
    throw Error(ExitCode::disk, "cannot use " + temporary.string() + ": " + error.message() + "; name another folder as data.cache_dir");
  return temporary;
}

void add_tokenizer_settings(KeyText& key, TokenizerConfig const& config) {
  if (config.is_trained()) {
    key.add("bpe").add(config.vocab_size).add(config.train_bytes);
  } else if (config.is_byte()) {
    key.add("byte");
  } else {
    key.add("file").add(read_tokenizer(expand_user(config.kind)));
  }
}

std::string index_name(std::vector<SourceFile> const& train, std::vector<SourceFile> const& valid, DataConfig const& data,
                       TokenizerConfig const& tokenizer) {
  KeyText key;
  key.add(prepared_format);
  add_files(key, train);
  add_files(key, valid);
  key.add(data.split.name())
      .add(std::bit_cast<int64_t>(data.valid_fraction))
      .add(data.max_bytes)
      .add(data.text_key)
      .add(data.bad_rows.name());
  add_tokenizer_settings(key, tokenizer);
  return key.key();
}

std::optional<std::string> read_index(fs::path const& root, std::string const& name) {
  fs::path const path = root / "index" / name;
  std::error_code ignored;
  if (!fs::exists(path, ignored)) return std::nullopt;
  std::string key = read_file(path);
  if (key.size() != 16 || key.find_first_not_of("0123456789abcdef") != std::string::npos) return std::nullopt;
  return key;
}

void write_index(fs::path const& root, std::string const& name, std::string const& key) {
  fs::create_directories(root / "index");
  write_file_atomic(root / "index" / name, key);
}

std::optional<PreparedData> open_prepared(fs::path const& folder, int64_t always_verified_bytes) {
  std::error_code ignored;
  if (!fs::exists(folder, ignored)) return std::nullopt;
  try {
    Json const summary = Json::parse(read_file(folder / "data.json"));
    PreparedData data;
    data.folder = folder;
    data.tokenizer = load_tokenizer(folder / "tokenizer.model");
    if (data.tokenizer->fingerprint() != summary.at("tokenizer").at("fingerprint").get<std::string>()) {
      throw Error(ExitCode::data, (folder / "tokenizer.model").string() + " is not the tokenizer that data.json names");
    }
    bool const large = shard_bytes(summary.at("train")) + shard_bytes(summary.at("valid")) > always_verified_bytes;
    VerifiedFiles verified(folder);
    auto const open = [&](char const* part, int64_t& tokens, int64_t& bytes) {
      return open_part(folder, summary.at(part), data.tokenizer->fingerprint(), large ? &verified : nullptr, tokens, bytes);
    };
    data.train = open("train", data.train_tokens, data.train_bytes);
    data.valid = open("valid", data.valid_tokens, data.valid_bytes);
    verified.save();
    data.documents = summary.at("documents").get<int64_t>();
    data.duplicates_removed = summary.at("duplicates_removed").get<int64_t>();
    data.valid_text = summary.value("valid_text", "");
    data.from_cache = true;
    return data;
  } catch (nlohmann::json::exception const&) {
    throw Error(ExitCode::data, (folder / "data.json").string() + " is damaged");
  }
}

std::optional<PreparedData> open_if_undamaged(fs::path const& folder, bool complain) {
  try {
    return open_prepared(folder);
  } catch (Error const& error) {
    if (complain) log_warning(std::string("prepared data in the cache are damaged and made anew: ") + error.what());
    return std::nullopt;
  }
}

PreparedData open_or_make(fs::path const& root, std::string const& key, std::function<void(fs::path const& folder)> const& make) {
  fs::create_directories(root);
  fs::path const folder = root / key;
  auto const held = lock(root / (key + ".lock"));
  if (auto data = open_if_undamaged(folder, true)) return *data;
  remove_leftovers(root, key);
  TemporaryFolder const temporary(folder.string() + ".tmp-" + std::to_string(::getpid()));
  make(temporary.path);
  fs::remove_all(folder);
  fs::rename(temporary.path, folder);
  sync_folder(folder_of(folder));
  auto data = open_prepared(folder);
  data->from_cache = false;
  return *data;
}

void write_summary(fs::path const& folder, PreparedData const& data, DataConfig const& config) {
  Json const summary{
      {"format", prepared_format},
      {"sources", config.sources},
      {"valid_sources", config.valid_sources},
      {"tasks", config.tasks},
      {"task_weights", config.task_weights},
      {"documents", data.documents},
      {"duplicates_removed", data.duplicates_removed},
      {"valid_text", data.valid_text},
      {"tokenizer",
       {{"kind", data.tokenizer->kind()}, {"vocab_size", data.tokenizer->vocab_size()}, {"fingerprint", data.tokenizer->fingerprint()}}},
      {"train", describe(data.train, data.train_tokens, data.train_bytes)},
      {"valid", describe(data.valid, data.valid_tokens, data.valid_bytes)}};
  write_file_atomic(folder / "data.json", summary.dump(2, ' ', false, Json::error_handler_t::replace) + "\n");
}

}  // namespace isobath
