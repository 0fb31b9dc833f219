#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <chrono>
#include <set>
#include <thread>

#include "core/error.h"
#include "data/loader.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr int32_t document_end = 1000;

// Documents of the given lengths; tokens count up from 0 over all of them, so that a token says where it stood.
struct Text {
  Scratch scratch;
  std::vector<fs::path> paths;
  std::vector<int64_t> tokens, starts;

  Text(std::initializer_list<std::vector<int>> shards) {
    int32_t next = 0;
    for (auto const& lengths : shards) {
      std::vector<std::vector<int32_t>> documents;
      for (int const length : lengths) {
        starts.push_back(static_cast<int64_t>(tokens.size()));
        documents.emplace_back();
        for (int i = 0; i < length; ++i) {
          documents.back().push_back(next);
          tokens.push_back(next++);
        }
        tokens.push_back(document_end);
      }
      paths.push_back(scratch / std::to_string(paths.size()));
      write_shard(paths.back(), documents, document_end, 1, "x");
    }
  }
};

// The same text as one long document of n - 1 tokens.
Text plain(int n) { return Text{std::vector<int>{n - 1}}; }

bool same(Batch const& a, Batch const& b) {
  return a.sequences == b.sequences && a.tokens == b.tokens && a.targets == b.targets && a.positions == b.positions &&
         a.segments == b.segments && a.first_sample == b.first_sample && a.target_count == b.target_count;
}

}  // namespace

TEST_CASE("loader: an epoch shows every window once; each epoch and seed in another order") {
  Text const text{{5, 0, 13}, {40, 2, 31, 7}};  // 105 tokens
  TokenStream const stream(text.paths);
  Loader const loader(stream, 8, 3, false, false);
  int64_t const n = loader.samples_per_epoch();
  REQUIRE(n == (stream.size() - 1) / 8);
  auto const order = [&](Loader const& from, int64_t first) {
    std::vector<int64_t> windows;
    Batch const batch = from.at(first, n);
    REQUIRE(batch.sequences == n);
    for (int64_t row = 0; row < n; ++row) {
      // Find the window by looking all of them up.
      std::vector<int64_t> const seen(batch.tokens.begin() + row * 8, batch.tokens.begin() + row * 8 + 8);
      for (int64_t w = 0; w < n; ++w) {
        if (std::equal(seen.begin(), seen.end(), text.tokens.begin() + w * 8)) {
          windows.push_back(w);
          CHECK(batch.windows[static_cast<size_t>(row)] == w);
          CHECK(std::equal(batch.targets.begin() + row * 8, batch.targets.begin() + row * 8 + 8, text.tokens.begin() + w * 8 + 1));
        }
      }
    }
    return windows;
  };
  auto const first = order(loader, 0), second = order(loader, n), other = order(Loader(stream, 8, 4, false, false), 0);
  for (auto const* windows : {&first, &second, &other}) {
    CHECK(windows->size() == static_cast<size_t>(n));
    CHECK(std::set<int64_t>(windows->begin(), windows->end()).size() == static_cast<size_t>(n));
  }
  CHECK(first != second);
  CHECK(first != other);
  CHECK_FALSE(std::is_sorted(first.begin(), first.end()));
}

TEST_CASE("loader: a batch is a pure function of where it starts, however it is cut") {
  Text const text{{50, 3, 60}};
  TokenStream const stream(text.paths);
  Loader const loader(stream, 4, 1, false, true);
  Batch const whole = loader.at(5, 60);  // spans epochs
  CHECK(whole.target_count == std::count_if(whole.targets.begin(), whole.targets.end(), [](int64_t t) { return t != ignore_target; }));
  for (int64_t const size : {1, 7, 20}) {
    std::vector<int64_t> tokens, targets;
    for (int64_t row = 0; row < 60; row += size) {
      Batch const part = loader.at(5 + row, std::min(size, 60 - row));
      CHECK(part.first_sample == 5 + row);
      tokens.insert(tokens.end(), part.tokens.begin(), part.tokens.end());
      targets.insert(targets.end(), part.targets.begin(), part.targets.end());
    }
    CHECK(tokens == whole.tokens);
    CHECK(targets == whole.targets);
  }
}

TEST_CASE("loader: pairs are those of a token and the tokens before it, of its document where documents are isolated") {
  Text const text{{5, 0, 13}, {40, 2, 31, 7}};
  TokenStream const stream(text.paths);
  for (bool const isolate : {false, true}) {
    Batch const batch = Loader(stream, 8, 3, false, isolate).at(0, 11);
    int64_t pairs = 0;
    for (size_t row = 0; row < 11; ++row)
      for (size_t t = 0; t < 8; ++t)
        for (size_t s = 0; s <= t; ++s) pairs += !isolate || batch.segments[row * 8 + s] == batch.segments[row * 8 + t];
    CHECK(batch.pairs == pairs);
    CHECK((batch.pairs == 11 * 36) == !isolate);
  }
}

TEST_CASE("loader: ordered samples cover every target once, the last ones in a shorter batch of their own") {
  for (int const size : {2, 9, 16, 17, 18, 30}) {
    INFO(size << " tokens");
    Text const text = plain(size);
    TokenStream const stream(text.paths);
    Loader const loader(stream, 8, 1, true, false);
    std::vector<int64_t> tokens, targets, positions;
    int64_t batches = 0;
    for (int64_t next = 0; next < loader.samples_per_epoch(); ++batches) {
      Batch const batch = loader.at(next, 100);
      REQUIRE(batch.sequences > 0);
      CHECK(batch.target_count == batch.sequences * batch.length);
      CHECK((batch.length == 8 || (batch.length < 8 && batch.sequences == 1)));
      next += batch.sequences;
      tokens.insert(tokens.end(), batch.tokens.begin(), batch.tokens.end());
      targets.insert(targets.end(), batch.targets.begin(), batch.targets.end());
      positions.insert(positions.end(), batch.positions.begin(), batch.positions.end());
    }
    CHECK(batches == (size > 8 ? 1 : 0) + ((size - 1) % 8 > 0 ? 1 : 0));
    CHECK(tokens == std::vector<int64_t>(text.tokens.begin(), text.tokens.end() - 1));
    CHECK(targets == std::vector<int64_t>(text.tokens.begin() + 1, text.tokens.end()));
    for (size_t i = 0; i < positions.size(); ++i) CHECK(positions[i] == static_cast<int64_t>(i % 8));
    CHECK(loader.at(loader.samples_per_epoch(), 4).sequences == 0);
  }
}

TEST_CASE("loader: segments number the documents of a window") {
  Text const text{{2, 0, 3}, {4, 30}};
  TokenStream const stream(text.paths);
  for (bool const isolated : {false, true}) {
    Loader const loader(stream, 12, 1, true, isolated);
    Batch const batch = loader.at(0, 2);
    CHECK(batch.isolated == isolated);
    for (int64_t row = 0; row < 2; ++row) {
      int32_t segment = 0;
      int64_t origin = 0;
      for (int64_t t = 0; t < 12; ++t) {
        int64_t const at = row * 12 + t;
        bool const starts = std::count(text.starts.begin(), text.starts.end(), at) > 0;
        if (starts && t > 0) {
          ++segment;
          origin = t;
        }
        bool const next_starts = std::count(text.starts.begin(), text.starts.end(), at + 1) > 0;
        INFO("token " << at);
        auto const i = static_cast<size_t>(at);
        CHECK(batch.segments[i] == segment);
        CHECK(batch.positions[i] == (isolated ? t - origin : t));
        CHECK(batch.targets[i] == (isolated && next_starts ? ignore_target : text.tokens[i + 1]));
      }
    }
    CHECK(batch.segments[11] == 3);
    CHECK(batch.segments[12] == 0);
  }
}

TEST_CASE("loader: text shorter than a window says what there is and what is needed") {
  Text const text = plain(8);
  TokenStream const stream(text.paths);
  CHECK_THROWS_WITH(Loader(stream, 8, 1, false, false), ContainsSubstring("8 tokens") && ContainsSubstring("9"));
  CHECK_NOTHROW(Loader(stream, 7, 1, false, false));
  CHECK_NOTHROW(Loader(stream, 8, 1, true, false));
  Text const one = plain(1);
  TokenStream const single(one.paths);
  try {
    Loader(single, 8, 1, true, false);
    FAIL("was accepted");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::data);
  }
}

TEST_CASE("loader: the prefetcher gives what the loader would, from any position") {
  Text const text{{200, 31}};
  TokenStream const stream(text.paths);
  Loader const loader(stream, 6, 9, false, false);
  for (int64_t const first : {0, 12, 1000}) {
    Prefetcher prefetcher(loader, first, 5, 3);
    for (int64_t i = 0; i < 40; ++i) REQUIRE(same(prefetcher.next(), loader.at(first + 5 * i, 5)));
    CHECK(prefetcher.wait_seconds() >= 0);
    CHECK(prefetcher.wait_seconds() < 60);
  }
}

TEST_CASE("loader: a prefetcher ends at any moment") {
  Text const text{std::vector<int>{200}};
  TokenStream const stream(text.paths);
  Loader const loader(stream, 6, 9, false, false);
  for (int i = 0; i < 200; ++i) {
    Prefetcher prefetcher(loader, 0, 2, 1 + i % 3);
    if (i % 2) prefetcher.next();
    if (i % 50 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  SUCCEED("no destructor hung");
}

TEST_CASE("loader: the prefetcher rethrows what its thread met") {
  Text const text{std::vector<int>{200}};
  TokenStream const stream(text.paths);
  Loader const loader(stream, 6, 9, false, false);
  Prefetcher prefetcher(loader, -100, 2);  // before the beginning of the text
  CHECK_THROWS_AS(prefetcher.next(), Error);
  CHECK_THROWS_AS(prefetcher.next(), Error);
}
