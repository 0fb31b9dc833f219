#include <zlib.h>
#include <zstd.h>

#include <algorithm>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <cstdlib>
#include <set>

#include "data/sources/corpus.h"
#include "data/sources/documents.h"
#include "data/sources/sources.h"
#include "data/sources/split.h"
#include "tests/fast/data/corner.h"

using namespace isobath;
using namespace isobath::test;
using Catch::Matchers::ContainsSubstring;

namespace {

std::string zstd(std::string const& text) {
  std::string out(ZSTD_compressBound(text.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), text.data(), text.size(), 3));
  return out;
}

std::string gzip(Scratch const& scratch, std::string const& text) {
  fs::path const path = scratch / "gzip-buffer";
  gzFile const file = gzopen(path.c_str(), "wb");
  gzwrite(file, text.data(), static_cast<unsigned>(text.size()));
  gzclose(file);
  std::string const bytes = read_file(path);
  fs::remove(path);
  return bytes;
}

std::vector<std::string> read(std::vector<std::string> const& sources, ReadCounts* counts = nullptr) {
  std::vector<std::string> texts;
  ReadCounts const read =
      read_documents(list_sources(sources), "text", [&](std::string_view text, SourceFile const&) { texts.emplace_back(text); });
  if (counts) *counts = read;
  return texts;
}

std::multiset<std::string> documents_of(PreparedData const& data, std::vector<fs::path> const& shards) {
  std::multiset<std::string> documents;
  std::string const text = text_of(data, shards);
  for (size_t begin = 0; begin < text.size();) {
    size_t const end = text.find('\x01', begin);
    documents.insert(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return documents;
}

std::vector<DocumentUse> numbered(std::vector<int64_t> const& sizes) {
  std::vector<DocumentUse> documents;
  for (size_t i = 0; i < sizes.size(); ++i) documents.push_back({0x9e3779b97f4a7c15ULL * (i + 1), sizes[i], false, 0, 0});
  return documents;
}

}  // namespace

TEST_CASE("prepare: a source is a file, a folder or a glob, in a fixed order") {
  Scratch const scratch;
  scratch.write("b.txt", "b");
  scratch.write("a/z.cpp", "z");
  scratch.write("a/deep/er/m.md", "m");
  scratch.write("a/.hidden/x.txt", "x");
  scratch.write("a/.git", "x");
  scratch.write("a/image.png", std::string("PNG\0\1", 5));
  scratch.write("a/empty.txt", "");
  std::string const root = scratch.path().string();
  ReadCounts counts;
  CHECK(read({root}, &counts) == std::vector<std::string>{"m", "z", "b"});
  CHECK(counts.binary_files == 1);
  CHECK(read({root + "/b.txt", root + "/a"}) == std::vector<std::string>{"b", "m", "z"});
  CHECK(read({root + "/a/image.png"}) == std::vector<std::string>{std::string("PNG\0\1", 5)});  // named: taken
  CHECK(read({root + "/*.txt"}) == std::vector<std::string>{"b"});
  CHECK(read({root + "/**/*.[mt][dx]*"}) == std::vector<std::string>{"m", "b"});
  CHECK(read({root + "/**"}) == std::vector<std::string>{"m", "z", "b"});
  CHECK(read({root + "/?.txt"}) == std::vector<std::string>{"b"});
  CHECK_THAT(error_of([&] { list_sources({root, root + "/*.nothing"}); }), ContainsSubstring("*.nothing"));
  CHECK_THAT(error_of([&] { list_sources({root + "/absent"}); }), ContainsSubstring("/absent"));
  fs::create_directories(scratch / "void");
  CHECK_THAT(error_of([&] { list_sources({root + "/void"}); }), ContainsSubstring("matches no file"));
}

TEST_CASE("prepare: compressed files and rows of .jsonl are read alike") {
  Scratch const scratch;
  std::string large;
  for (int i = 0; i < 20'000; ++i) large += story(i % 100).substr(0, 40);
  std::string const rows = "{\"text\": \"one\\nline\"}\n\n{\"id\": 3, \"text\": \"\\u00e9\"}\r\n{\"text\": \"\"}\n{\"text\": \"last\"}";
  std::vector<std::string> const expected{"one\nline", "\xc3\xa9", "last"};
  auto const one = [&](std::string const& name, std::string const& bytes) { return read({scratch.write(name, bytes).string()}); };
  CHECK(one("a.txt.gz", gzip(scratch, large)) == std::vector<std::string>{large});
  CHECK(one("a.txt.zst", zstd(large)) == std::vector<std::string>{large});
  CHECK(one("b.zst", zstd("x") + zstd("y")) == std::vector<std::string>{"xy"});  // frames follow each other
  CHECK(one("b.gz", gzip(scratch, "x") + gzip(scratch, "y")) == std::vector<std::string>{"xy"});
  CHECK(one("r.jsonl", rows) == expected);
  CHECK(one("r.jsonl.zst", zstd(rows)) == expected);
  CHECK(one("r.jsonl.gz", gzip(scratch, rows)) == expected);

  std::string const gz = gzip(scratch, large), zst = zstd(large);
  for (double const kept : {0.0, 0.01, 0.5, 0.999}) {
    INFO(kept << " of the file");
    auto const cut = [&](std::string const& whole) {
      return whole.substr(0, static_cast<size_t>(kept * static_cast<double>(whole.size())));
    };
    CHECK_THAT(error_of([&] { one("cut.gz", cut(gz)); }), ContainsSubstring("cut.gz"));
    CHECK_THAT(error_of([&] { one("cut.zst", cut(zst)); }), ContainsSubstring("cut.zst"));
  }
  CHECK_THAT(error_of([&] { one("plain.gz", "not compressed at all"); }), ContainsSubstring("gzip"));
  CHECK_THAT(error_of([&] { one("plain.zst", "not compressed at all"); }), ContainsSubstring("zstd"));
}

TEST_CASE("prepare: a summary keeps validation sources apart and says what is compressed") {
  Scratch const scratch;
  DataConfig config;
  config.sources = {scratch.write("a.txt", std::string(1000, 'a')).string(),
                    scratch.write("b.txt.zst", zstd(std::string(1000, 'b'))).string()};
  config.valid_sources = {scratch.write("v.txt", std::string(70, 'v')).string()};
  SourceSummary const summary = summarize_sources(config);
  CHECK(summary.files == 3);
  CHECK(summary.compressed_files == 1);
  CHECK(summary.bytes == 1000 + static_cast<int64_t>(fs::file_size(scratch / "b.txt.zst")));
  CHECK(summary.valid_bytes == 70);
}

TEST_CASE("prepare: a bad row names file and line") {
  Scratch const scratch;
  auto const complaint = [&](std::string const& second_row) {
    auto const path = scratch.write("rows.jsonl", "{\"text\": \"fine\"}\n" + second_row + "\n");
    return error_of([&] { read({path.string()}); });
  };
  for (std::string const row : {"{\"text\": \"cut", "[1]", "{\"body\": \"x\"}", "{\"text\": 3}", "{\"text\": \"\xff\"}"}) {
    CHECK_THAT(complaint(row), ContainsSubstring("rows.jsonl:2:"));
  }
  CHECK_THAT(complaint("{\"body\": \"x\"}"), ContainsSubstring("'text'") && ContainsSubstring("body"));
}

TEST_CASE("prepare: libtorch-headers leaves out what is generated") {
  Scratch const scratch;
  scratch.write("include/ATen/Tensor.h", "#pragma once // hand-written");
  scratch.write("include/ATen/ops/add.h", "#pragma once // op");
  scratch.write("include/ATen/Functions.h", "// @generated by torchgen\n");
  scratch.write("include/torch/csrc/autograd/generated/x.h", "x");
  scratch.write("include/c10/ops/kept.h", "kept");
  scratch.write("include/big.h", std::string(300 << 10, 'x'));
  scratch.write("include/readme.txt", "no header");
  ::setenv("ISOBATH_TORCH_INCLUDE_DIR", (scratch / "include").c_str(), 1);
  ReadCounts counts;
  auto const texts = read({"libtorch-headers"}, &counts);
  CHECK(texts == std::vector<std::string>{"#pragma once // hand-written", "kept"});
  CHECK(counts.generated_files == 1);
  DataConfig config;
  CHECK(summarize_sources(config).files == 2);
  CHECK(summarize_sources(config).bytes == 32);
  ::setenv("ISOBATH_TORCH_INCLUDE_DIR", (scratch / "nowhere").c_str(), 1);
  CHECK_THAT(error_of([] { list_sources({"libtorch-headers"}); }),
             ContainsSubstring("nowhere") && ContainsSubstring("ISOBATH_TORCH_INCLUDE_DIR"));
  ::unsetenv("ISOBATH_TORCH_INCLUDE_DIR");
}

TEST_CASE("prepare: split by document takes whole ones near the fraction, whatever their order") {
  DataConfig config;
  config.valid_fraction = 0.1;
  auto documents = numbered(std::vector<int64_t>(100, 50));
  auto const summary = split_documents(documents, config);
  CHECK(summary.valid_documents == 10);
  CHECK(summary.train_documents == 90);
  std::set<uint64_t> chosen;
  for (auto const& document : documents) {
    CHECK(document.end == document.size);
    CHECK((document.train_end == 0 || document.train_end == document.size));
    if (document.train_end == 0) chosen.insert(document.hash);
  }
  std::reverse(documents.begin(), documents.end());
  split_documents(documents, config);
  for (auto const& document : documents) CHECK((document.train_end == 0) == chosen.contains(document.hash));
}

TEST_CASE("prepare: split by document never hands the bulk to validation") {
  DataConfig config;
  config.split = "document";
  for (auto const& sizes : std::vector<std::vector<int64_t>>{{1'000'000, 10}, {10, 1'000'000}, {5, 5}, {1'000'000, 900'000, 800'000}}) {
    auto documents = numbered(sizes);
    auto const summary = split_documents(documents, config);
    CHECK(summary.valid_documents == 1);
    CHECK(summary.valid_bytes == *std::min_element(sizes.begin(), sizes.end()));
  }
  auto one = numbered({100});
  CHECK_THAT(error_of([&] { split_documents(one, config); }), ContainsSubstring("tail") && ContainsSubstring("valid_sources"));
}

TEST_CASE("prepare: split tail cuts at a byte") {
  DataConfig config;
  config.split = "tail";
  config.valid_fraction = 0.1;
  auto whole = numbered({1'115'394});
  split_documents(whole, config);
  CHECK(whole[0].train_end == 1'003'854);  // the usual split of Tiny Shakespeare
  CHECK(whole[0].end == 1'115'394);
  auto several = numbered({50, 45, 2, 3});
  split_documents(several, config);
  CHECK(several[0].train_end == 50);
  CHECK(several[1].train_end == 40);
  CHECK(several[2].train_end == 0);
  CHECK(several[3].end == 3);
}

TEST_CASE("prepare: copies count once, validation sources win") {
  DataConfig config;
  config.valid_sources = {"given"};
  auto documents = numbered({10, 10, 10, 10, 10});
  documents[1].hash = documents[0].hash;
  documents[2].hash = documents[3].hash;
  documents[3].from_valid_sources = true;
  auto const summary = split_documents(documents, config);
  CHECK(summary.duplicates == 2);
  CHECK(documents[0].train_end == 10);
  CHECK(documents[1].end == 0);
  CHECK(documents[2].end == 0);
  CHECK((documents[3].train_end == 0 && documents[3].end == 10));
  CHECK(documents[4].train_end == 10);
}

TEST_CASE("prepare: split auto takes documents, and the tail where none is small enough") {
  DataConfig config;
  config.valid_fraction = 0.02;
  auto const split = [&](char const* how, std::vector<int64_t> const& sizes) {
    config.split = how;
    auto documents = numbered(sizes);
    auto const summary = split_documents(documents, config);
    std::vector<std::pair<int64_t, int64_t>> parts;
    for (auto const& document : documents) parts.emplace_back(document.train_end, document.end);
    return std::pair(Choice<Split>(summary.split).name(), parts);
  };
  CHECK(split("auto", std::vector<int64_t>(100, 10)) == split("document", std::vector<int64_t>(100, 10)));
  for (std::vector<int64_t> const& sizes : {std::vector<int64_t>{1000}, {600, 400}, std::vector<int64_t>(10, 100)}) {
    CHECK(split("auto", sizes) == split("tail", sizes));
    CHECK(split("auto", sizes).first == "tail");
  }
  config.valid_fraction = 0.9;  // of a single document
  CHECK(split("auto", {1000}).first == "tail");
}

TEST_CASE("prepare: max_bytes is exact, independent of order, and grows by adding") {
  DataConfig config;
  config.split = "tail";
  std::set<uint64_t> before;
  for (int64_t const limit : {150, 500, 995, 5000}) {
    config.max_bytes = limit;
    auto documents = numbered(std::vector<int64_t>(100, 10));
    auto const summary = split_documents(documents, config);
    CHECK(summary.train_bytes + summary.valid_bytes == std::min<int64_t>(limit, 1000));
    std::set<uint64_t> used;
    for (auto const& document : documents) {
      if (document.end > 0) used.insert(document.hash);
    }
    CHECK(std::includes(used.begin(), used.end(), before.begin(), before.end()));
    before = used;
  }
}

TEST_CASE("prepare: every document is in one of the parts, once, unchanged") {
  Corner corner;
  corner.scratch.write("text/copy.txt", story(3));
  corner.scratch.write("text/bytes.txt", random_bytes(2000, 4) + "\xe2\x96\x81");
  for (std::string const kind : {"bpe", "byte"}) {
    corner.tokenizer.kind = kind;
    PreparedData const data = corner.prepare();
    bool const has_nul = random_bytes(2000, 4).find('\0') != std::string::npos;  // then it looks binary
    CHECK(data.duplicates_removed == 1);
    CHECK(data.documents == 40 + !has_nul);
    CHECK(data.tokenizer->vocab_size() == (kind == "bpe" ? 300 : 257));
    auto const train = documents_of(data, data.train), valid = documents_of(data, data.valid);
    std::multiset<std::string> all = train;
    all.insert(valid.begin(), valid.end());
    std::multiset<std::string> expected;
    for (int i = 0; i < 40; ++i) expected.insert(story(i));
    if (has_nul) CHECK(all == expected);
    CHECK(valid.size() >= 2);
    CHECK(TokenStream(data.train).size() == data.train_tokens);
    CHECK(TokenStream(data.valid).size() == data.valid_tokens);
    int64_t bytes = 0;
    for (auto const& document : all) bytes += static_cast<int64_t>(document.size());
    CHECK(data.train_bytes + data.valid_bytes == bytes);
  }
}

TEST_CASE("prepare: tail and validation sources") {
  Corner corner(3);
  corner.tokenizer.kind = "byte";
  corner.data.split = "tail";
  PreparedData data = corner.prepare();
  std::string const whole = story(0) + "\x01" + story(1) + "\x01" + story(2) + "\x01";
  std::string joined = text_of(data, data.train);
  joined.pop_back();  // the document end where the last document is cut
  CHECK(joined + text_of(data, data.valid) == whole);

  corner.scratch.write("valid.jsonl", "{\"text\": \"new\"}\n{\"text\": \"" + std::string("other") + "\"}\n");
  corner.scratch.write("text/extra.txt", "new");
  corner.data.valid_sources = {(corner.scratch / "valid.jsonl").string()};
  data = corner.prepare();
  CHECK(text_of(data, data.valid) == "new\x01other\x01");
  CHECK(text_of(data, data.train) == whole);
}

TEST_CASE("prepare: a tokenizer file of one's own") {
  Corner corner;
  auto const trained = make_tokenizer(corner.config());
  PreparedData const first = corner.prepare();
  CHECK(trained->fingerprint() == first.tokenizer->fingerprint());
  write_file_atomic(corner.scratch / "own.model", trained->serialized());
  corner.tokenizer.kind = (corner.scratch / "own.model").string();
  PreparedData const own = corner.prepare();
  CHECK(own.tokenizer->fingerprint() == trained->fingerprint());
  CHECK(text_of(own, own.train) == text_of(first, first.train));
  corner.tokenizer.kind = (corner.scratch / "absent.model").string();
  CHECK_THAT(error_of([&] { corner.prepare(); }), ContainsSubstring("absent.model"));
}

TEST_CASE("prepare: the tokenizer learns from training text only") {
  Corner corner;
  corner.scratch.write("valid.txt", std::string(5000, 'q') + " unmistakable unmistakable unmistakable");
  corner.data.valid_sources = {(corner.scratch / "valid.txt").string()};
  PreparedData const data = corner.prepare();
  for (int32_t id = 0; id < data.tokenizer->vocab_size(); ++id) CHECK(data.tokenizer->piece(id).find("qq") == std::string::npos);
  corner.tokenizer.train_bytes = 3000;
  Corpus corpus(corner.data);
  corpus.scan();
  int64_t bytes = 0;
  for (std::string const& text : corpus.training_sample(3000)) bytes += static_cast<int64_t>(text.size());
  CHECK(bytes == 3000);
}
