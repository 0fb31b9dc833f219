#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <map>

#include "core/error.h"
#include "data/rolling_windows.h"
#include "tests/fast/scratch.h"

using namespace isobath;

namespace {

constexpr int32_t rolling_end = 1000, rolling_start = 999;

// A stream of documents of the given lengths. Their tokens are 0, 1, 2, ..., counted through all documents.
struct RollingText {
  Scratch scratch;
  std::vector<std::vector<int32_t>> documents;
  std::unique_ptr<TokenStream> stream;

  explicit RollingText(std::vector<int> const& lengths) {
    int32_t next = 0;
    for (int const length : lengths) {
      documents.emplace_back();
      for (int i = 0; i < length; ++i) documents.back().push_back(next++);
    }
    write_shard(scratch / "text", documents, rolling_end, 77, "x");
    stream = std::make_unique<TokenStream>(std::vector<fs::path>{scratch / "text"});
  }
};

using Numbers = std::vector<int64_t>;
struct ExpectedWindow {
  int64_t document;
  Numbers tokens, targets;  // -100: not scored
  bool operator==(ExpectedWindow const&) const = default;
};

// lm_eval.utils.get_rolling_token_windows with context_len 1, then make_disjoint_window and the cut of HFLM, written out: a window's input
// is the context and the continuation without its last token, and the continuation is what is scored.
std::vector<ExpectedWindow> rolling_by_lm_eval(RollingText const& text, int64_t length) {
  std::vector<ExpectedWindow> windows;
  for (size_t document = 0; document < text.documents.size(); ++document) {
    Numbers const t(text.documents[document].begin(), text.documents[document].end());
    auto const n = static_cast<int64_t>(t.size());
    auto const slice = [&](int64_t from, int64_t to) { return Numbers(t.begin() + from, t.begin() + to); };
    auto const add = [&](Numbers const& input, Numbers const& predicted) {
      Numbers targets(input.size() - predicted.size(), ignore_target);
      targets.insert(targets.end(), predicted.begin(), predicted.end());
      windows.push_back({static_cast<int64_t>(document), input, targets});
    };
    if (n == 0) continue;
    int64_t predicted = std::min(length, n);
    Numbers first = slice(0, predicted - 1);
    first.insert(first.begin(), rolling_start);
    add(first, slice(0, predicted));
    while (predicted < n) {
      int64_t const now = std::min(n - predicted, length), end = predicted + now;
      add(slice(end - length - 1, end - 1), slice(end - now, end));
      predicted = end;
    }
  }
  return windows;
}

std::vector<ExpectedWindow> rolling_windows(RollingWindows const& windows, int64_t at_once, Batch* sums = nullptr) {
  std::vector<ExpectedWindow> found;
  for (int64_t first = 0; first < windows.count();) {
    Batch const batch = windows.at(first, at_once);
    CHECK(batch.first_sample == first);
    CHECK(batch.sequences >= 1);
    CHECK(batch.sequences <= at_once);
    CHECK_FALSE(batch.isolated);
    REQUIRE(std::ssize(batch.places) == batch.sequences);
    for (int64_t row = 0; row < batch.sequences; ++row) {
      WindowPlace const place = batch.places[static_cast<size_t>(row)];
      auto const begin = row * batch.length, end = begin + batch.length;
      auto const cut = [&](Numbers const& of) { return Numbers(of.begin() + begin, of.begin() + end); };
      found.push_back({place.document, cut(batch.tokens), cut(batch.targets)});
      CHECK(std::count(found.back().targets.begin(), found.back().targets.end(), ignore_target) == place.context);
      for (int64_t t = 0; t < batch.length; ++t) CHECK(batch.positions[static_cast<size_t>(begin + t)] == t);
    }
    CHECK(batch.segments == std::vector<int32_t>(batch.tokens.size()));
    if (sums) {
      sums->target_count += batch.target_count;
      sums->pairs += batch.pairs;
    }
    first += batch.sequences;
  }
  return found;
}

}  // namespace

TEST_CASE("rolling windows: cut as lm-evaluation-harness cuts a text") {
  RollingText const text({1, 4, 3, 9, 0, 5, 8, 12, 13, 30});
  for (int64_t const length : {1, 2, 3, 4, 5, 7, 12, 13, 64}) {
    RollingWindows const windows(*text.stream, rolling_start, length);
    auto const expected = rolling_by_lm_eval(text, length);
    for (int64_t const at_once : {1, 3, 100}) CHECK(rolling_windows(windows, at_once) == expected);
  }
}

TEST_CASE("rolling windows: every token is scored once, behind all that its window can hold") {
  RollingText const text({9, 1, 26, 8});
  constexpr int64_t length = 8;
  RollingWindows const windows(*text.stream, rolling_start, length);
  CHECK(windows.text_bytes() == 77);
  Batch sums;
  std::map<int64_t, int64_t> context;  // of each scored token: tokens that its window reads before it
  for (ExpectedWindow const& window : rolling_windows(windows, 2, &sums)) {
    CHECK((window.tokens.size() == length || text.documents[static_cast<size_t>(window.document)].size() < length));
    for (size_t t = 0; t < window.targets.size(); ++t) {
      if (window.targets[t] == ignore_target) continue;
      CHECK_FALSE(context.contains(window.targets[t]));
      context[window.targets[t]] = static_cast<int64_t>(t) + 1;
      bool const starts = window.targets[t] == text.documents[static_cast<size_t>(window.document)][0];
      CHECK(window.tokens[t] == (starts ? rolling_start : window.targets[t] - 1));  // the token before it
    }
  }
  CHECK(context.size() == 9 + 1 + 26 + 8);
  CHECK(sums.target_count == 9 + 1 + 26 + 8);
  CHECK(sums.pairs == 7 * 36 + 1);  // windows of 8: 2, 4, 1; a window of one token
  CHECK(context.at(0) == 1);
  CHECK(context.at(7) == 8);
  CHECK(context.at(8) == 8);  // the last token of the first document alone in its last window, which is filled up
  CHECK(context.at(9) == 1);
  CHECK(context.at(10 + 23) == 8);
  CHECK(context.at(10 + 24) == 7);
  CHECK(context.at(10 + 25) == 8);
}

TEST_CASE("rolling windows: there is none outside of the text") {
  RollingText const text({9});
  RollingWindows const windows(*text.stream, rolling_start, 4);
  CHECK(windows.count() == 3);
  CHECK_THROWS_AS(windows.at(3, 1), Error);
  CHECK_THROWS_AS(windows.at(-1, 1), Error);
  CHECK_THROWS_AS(windows.at(0, 0), Error);
}
