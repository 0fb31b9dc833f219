#include "data/prepare.h"

#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <thread>

#include "core/error.h"
#include "core/log.h"
#include "core/units.h"
#include "data/progress.h"
#include "data/shards/cache.h"
#include "data/sources/byte_reader.h"
#include "data/sources/corpus.h"
#include "data/tokenizer/bpe_tokenizer.h"
#include "data/tokenizer/parallel_encoder.h"

namespace isobath {
namespace {

constexpr int64_t shard_tokens = int64_t{32} << 20;

// Collects encoded documents and writes a shard whenever the next document would exceed shard_tokens.
class ShardSeries {
 public:
  ShardSeries(fs::path folder, std::string name, Tokenizer const& tokenizer)
      : folder_(std::move(folder)), name_(std::move(name)), tokenizer_(tokenizer) {}

  void add(std::vector<int32_t>&& ids, int64_t bytes) {
    auto const size = static_cast<int64_t>(ids.size()) + 1;
    if (held_tokens_ > 0 && held_tokens_ + size > shard_tokens) flush();
    documents_.push_back(std::move(ids));
    held_tokens_ += size;
    held_bytes_ += bytes;
    tokens += size;
    text_bytes += bytes;
  }
  void flush() {
    if (documents_.empty()) return;
    std::string number = std::to_string(paths.size());
    number.insert(0, 5 - std::min<size_t>(number.size(), 5), '0');
    paths.push_back(folder_ / (name_ + "-" + number + ".shard"));
    write_shard(paths.back(), documents_, tokenizer_.document_end(), held_bytes_, tokenizer_.fingerprint());
    documents_.clear();
    held_tokens_ = held_bytes_ = 0;
  }

  std::vector<fs::path> paths;
  int64_t tokens = 0, text_bytes = 0;

 private:
  fs::path folder_;
  std::string name_;
  Tokenizer const& tokenizer_;
  std::vector<std::vector<int32_t>> documents_;
  int64_t held_tokens_ = 0, held_bytes_ = 0;
};

// Makes a folder and removes it at the end of the scope, unless it has been renamed.
struct TemporaryFolder {
  fs::path path;
  explicit TemporaryFolder(fs::path p) : path(std::move(p)) { fs::create_directories(path); }
  ~TemporaryFolder() {
    std::error_code ignored;
    fs::remove_all(path, ignored);
  }
};

std::unique_ptr<Tokenizer> tokenizer_for(Corpus const& corpus, TokenizerConfig const& config) {
  if (config.is_byte()) return byte_tokenizer();
  if (!config.is_trained()) return load_tokenizer(expand_user(config.kind));
  auto const begin = std::chrono::steady_clock::now();
  std::vector<std::string> const sample = corpus.training_sample(config.train_bytes);
  int64_t bytes = 0;
  for (std::string const& text : sample) bytes += static_cast<int64_t>(text.size());
  log_info("training a tokenizer of " + std::to_string(config.vocab_size) + " pieces on " + format_bytes(static_cast<double>(bytes)));
  auto tokenizer = train_bpe(sample, config.vocab_size);
  log_info("tokenizer trained in " + format_seconds(std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count()));
  return tokenizer;
}

void encode(Corpus const& corpus, DataConfig const& config, fs::path const& folder, PreparedData& data) {
  enum Group { train, valid };
  ShardSeries series[] = {{folder, "train", *data.tokenizer}, {folder, "valid", *data.tokenizer}};
  Progress progress("encoding", corpus.summary().train_bytes + corpus.summary().valid_bytes);
  int const threads = static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
  ParallelEncoder encoder(*data.tokenizer, threads, [&](int group, std::vector<int32_t>&& ids, int64_t bytes) {
    series[group].add(std::move(ids), bytes);
    progress.add(bytes);
  });
  // Documents drawn for validation are stored in the order of their hashes, so that an evaluation of only the first ones still sees a
  // sample of all sources.
  bool const drawn = config.valid_sources.empty() && corpus.summary().split == Split::document;
  fs::path const spool = folder / "valid.text";
  FileWriter waiting(spool);
  std::multimap<uint64_t, std::pair<int64_t, int64_t>> drawn_texts;  // hash -> offset and size in the spool file
  int64_t spooled = 0;
  corpus.visit([&](size_t index, std::string_view text) {
    DocumentUse const& use = corpus.documents()[index];
    if (use.train_end > 0) encoder.submit(train, std::string(text.substr(0, static_cast<size_t>(use.train_end))));
    if (use.end == use.train_end) return;
    std::string rest(text.substr(static_cast<size_t>(use.train_end), static_cast<size_t>(use.end - use.train_end)));
    if (!drawn) return encoder.submit(valid, std::move(rest));
    waiting.write(rest);
    drawn_texts.emplace(use.hash, std::pair(spooled, static_cast<int64_t>(rest.size())));
    spooled += static_cast<int64_t>(rest.size());
  });
  waiting.finish();
  MappedFile const texts(spool);
  auto const* const bytes = reinterpret_cast<char const*>(texts.bytes().data());
  for (auto const& [hash, place] : drawn_texts) encoder.submit(valid, std::string(bytes + place.first, static_cast<size_t>(place.second)));
  fs::remove(spool);
  encoder.finish();
  for (ShardSeries& each : series) each.flush();
  log_info("encoded " + format_bytes(static_cast<double>(progress.done())) + " in " + format_seconds(progress.seconds()) + " (" +
           progress.rate() + "): " + format_si(static_cast<double>(series[train].tokens)) + " training tokens, " +
           format_si(static_cast<double>(series[valid].tokens)) + " validation tokens");
  data.train = series[train].paths;
  data.valid = series[valid].paths;
  data.train_tokens = series[train].tokens;
  data.valid_tokens = series[valid].tokens;
  data.train_bytes = series[train].text_bytes;
  data.valid_bytes = series[valid].text_bytes;
}

// Removes temporary folders of killed processes. This process holds the lock of `key`, so no other process uses them.
void remove_leftovers(fs::path const& root, std::string const& key) {
  std::error_code ignored;
  for (auto const& entry : fs::directory_iterator(root, ignored)) {
    if (entry.path().filename().string().starts_with(key + ".tmp-")) fs::remove_all(entry.path(), ignored);
  }
}

// Prepares the data in a temporary folder beside `folder`, then renames it.
void make(Corpus const& corpus, DataConfig const& config, TokenizerConfig const& tokenizer, fs::path const& folder) {
  TemporaryFolder const temporary(folder.string() + ".tmp-" + std::to_string(::getpid()));
  PreparedData data;
  data.tokenizer = tokenizer_for(corpus, tokenizer);
  write_file_atomic(temporary.path / "tokenizer.model", data.tokenizer->serialized());
  encode(corpus, config, temporary.path, data);
  data.documents = corpus.summary().train_documents + corpus.summary().valid_documents;
  data.duplicates_removed = corpus.summary().duplicates;
  data.valid_text = corpus.valid_text_key();
  write_summary(temporary.path, data, config);
  fs::remove_all(folder);
  fs::rename(temporary.path, folder);
  sync_folder(folder_of(folder));
}

std::optional<PreparedData> open_if_undamaged(fs::path const& folder, bool complain) {
  try {
    return open_prepared(folder);
  } catch (Error const& error) {
    if (complain) log_warning(std::string("prepared data in the cache are damaged and made anew: ") + error.what());
    return std::nullopt;
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

// Whether all files were last modified more than two seconds ago, so that any later change also changes their modification times.
bool unmodified_recently(Corpus const& corpus, int64_t now) {
  constexpr int64_t two_seconds = 2'000'000'000;
  auto const rests = [&](SourceFile const& file) { return file.modified < now - two_seconds; };
  return std::all_of(corpus.files().begin(), corpus.files().end(), rests) &&
         std::all_of(corpus.valid_files().begin(), corpus.valid_files().end(), rests);
}

PreparedData prepare(DataConfig const& config, TokenizerConfig const& tokenizer) {
  int64_t const now = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  fs::path const root = cache_root(config);
  Corpus corpus(config);
  std::string const name = index_name(corpus.files(), corpus.valid_files(), config, tokenizer);
  if (auto const known = read_index(root, name)) {
    if (auto data = open_if_undamaged(root / *known, false)) return *data;
  }
  fs::create_directories(root);
  corpus.scan();
  KeyText text;
  text.add(prepared_format).add(corpus.content_key());
  add_tokenizer_settings(text, tokenizer);
  std::string const key = text.key();
  fs::path const folder = root / key;
  auto const held = lock(root / (key + ".lock"));
  auto data = open_if_undamaged(folder, true);
  if (!data) {
    remove_leftovers(root, key);
    make(corpus, config, tokenizer, folder);
    data = open_prepared(folder);
    data->from_cache = false;
  }
  if (unmodified_recently(corpus, now)) write_index(root, name, key);
  return *data;
}

}  // namespace

PreparedData prepare_data(DataConfig const& config, TokenizerConfig const& tokenizer) {
  try {
    return prepare(config, tokenizer);
  } catch (fs::filesystem_error const& error) {
    throw Error(ExitCode::disk, "cannot work in data.cache_dir: " + error.path1().string() + ": " + error.code().message());
  }
}

std::unique_ptr<Tokenizer> make_tokenizer(DataConfig const& config, TokenizerConfig const& tokenizer) {
  if (!tokenizer.is_trained()) return tokenizer.is_byte() ? byte_tokenizer() : load_tokenizer(expand_user(tokenizer.kind));
  Corpus corpus(config);
  corpus.scan();
  return tokenizer_for(corpus, tokenizer);
}

SourceSummary summarize_sources(DataConfig const& config) {
  Corpus const corpus(config);
  SourceSummary summary;
  auto const add = [&](std::vector<SourceFile> const& files, int64_t& bytes) {
    ReadCounts const counts = count_files(files);
    summary.files += counts.files;
    bytes += counts.bytes;
    summary.compressed_files +=
        std::count_if(files.begin(), files.end(), [](SourceFile const& file) { return without_compression(file.path) != file.path; });
  };
  add(corpus.files(), summary.bytes);
  add(corpus.valid_files(), summary.valid_bytes);
  bool const rows = std::any_of(corpus.files().begin(), corpus.files().end(),
                                [](SourceFile const& file) { return without_compression(file.path).extension() == ".jsonl"; });
  if (config.split == Split::document && config.valid_sources.empty() && !rows) check_document_count(corpus.files().size());
  return summary;
}

}  // namespace isobath
