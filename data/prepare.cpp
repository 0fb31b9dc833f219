#include "data/prepare.h"

#include <algorithm>
#include <chrono>
#include <map>

#include "core/error.h"
#include "core/limits.h"
#include "core/log.h"
#include "core/units.h"
#include "data/prepare_examples.h"
#include "data/progress.h"
#include "data/shards/cache.h"
#include "data/shards/shard_series.h"
#include "data/sources/corpus.h"
#include "data/sources/json_rows.h"
#include "data/tokenizer/make_tokenizer.h"
#include "data/tokenizer/parallel_encoder.h"

namespace isobath {
namespace {

std::unique_ptr<Tokenizer> tokenizer_for(Corpus const& corpus, TokenizerConfig const& config) {
  return make_tokenizer(config, [&] { return corpus.training_sample(config.train_bytes); });
}

void encode(Corpus const& corpus, DataConfig const& config, fs::path const& folder, PreparedData& data) {
  enum Group { train, valid };
  ShardSeries series[] = {{folder, "train", *data.tokenizer}, {folder, "valid", *data.tokenizer}};
  Progress progress("encoding", corpus.summary().train_bytes + corpus.summary().valid_bytes);
  int const threads = static_cast<int>(usable_cores().value);
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

void make(Corpus const& corpus, DataConfig const& config, TokenizerConfig const& tokenizer, fs::path const& folder) {
  PreparedData data;
  data.tokenizer = tokenizer_for(corpus, tokenizer);
  write_file_atomic(folder / "tokenizer.model", data.tokenizer->serialized());
  encode(corpus, config, folder, data);
  data.documents = corpus.summary().train_documents + corpus.summary().valid_documents;
  data.duplicates_removed = corpus.summary().duplicates;
  data.valid_text = corpus.valid_text_key();
  write_summary(folder, data, config);
}

// Whether all files last changed more than two seconds ago, so that any later change also changes their times.
bool unchanged_recently(Corpus const& corpus, int64_t now) {
  constexpr int64_t two_seconds = 2'000'000'000;
  auto const rests = [&](SourceFile const& file) { return std::max(file.stamp.modified, file.stamp.changed) < now - two_seconds; };
  return std::all_of(corpus.files().begin(), corpus.files().end(), rests) &&
         std::all_of(corpus.valid_files().begin(), corpus.valid_files().end(), rests);
}

PreparedData prepare(DataConfig const& config, TokenizerConfig const& tokenizer) {
  int64_t const now = std::chrono::duration_cast<std::chrono::nanoseconds>(std::chrono::system_clock::now().time_since_epoch()).count();
  Corpus corpus(config);
  std::string const name = index_name(corpus.files(), corpus.valid_files(), config, tokenizer);
  auto const find = [&](fs::path const& root) -> std::optional<PreparedData> {
    auto const known = read_index(root, name);
    return known ? open_if_undamaged(root / *known, false) : std::nullopt;
  };
  if (auto data = find(cache_root(config))) return *data;
  fs::path const root = writable_cache_root(config);
  if (auto data = find(root)) return *data;
  fs::create_directories(root);
  corpus.scan();
  KeyText text;
  text.add(prepared_format).add(corpus.content_key());
  add_tokenizer_settings(text, tokenizer);
  std::string const key = text.key();
  PreparedData data = open_or_make(root, key, [&](fs::path const& folder) { make(corpus, config, tokenizer, folder); });
  if (unchanged_recently(corpus, now)) write_index(root, name, key);
  return data;
}

}  // namespace

PreparedData prepare_data(Config const& config) {
  try {
    return config.data.tasks.empty() ? prepare(config.data, config.tokenizer) : prepare_examples(config);
  } catch (fs::filesystem_error const& error) {
    throw Error(ExitCode::disk, "cannot work in data.cache_dir: " + error.path1().string() + ": " + error.code().message());
  }
}

std::unique_ptr<Tokenizer> make_tokenizer(Config const& config) {
  if (!config.tokenizer.is_trained()) return make_tokenizer(config.tokenizer, {});
  if (!config.data.tasks.empty()) return make_tokenizer_of_examples(config);
  Corpus corpus(config.data);
  corpus.scan();
  return tokenizer_for(corpus, config.tokenizer);
}

SourceSummary summarize_sources(DataConfig const& config) {
  Corpus const corpus(config);
  SourceSummary summary;
  auto const add = [&](std::vector<SourceFile> const& files, int64_t& bytes) {
    ReadCounts const counts = count_files(files);
    summary.files += counts.files;
    bytes += counts.bytes;
    summary.compressed_files += counts.packed_files;
  };
  add(corpus.files(), summary.bytes);
  add(corpus.valid_files(), summary.valid_bytes);
  bool const rows =
      std::any_of(corpus.files().begin(), corpus.files().end(), [](SourceFile const& file) { return is_named_as_rows(file.path); });
  if (config.split == Split::document && config.valid_sources.empty() && !rows) check_document_count(corpus.files().size());
  return summary;
}

}  // namespace isobath
