#include "data/packed_examples.h"

#include <algorithm>
#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <map>
#include <set>

#include "core/error.h"
#include "core/random.h"
#include "data/packing.h"
#include "data/tasks/encoded_items.h"
#include "tests/fast/data/examples_stream.h"

using namespace isobath;
using namespace isobath::test;
using Catch::Matchers::ContainsSubstring;

namespace {

constexpr int64_t packed_end = 100'000;

// One example as a window holds it.
struct SeenExample {
  std::vector<int64_t> tokens, targets;
  auto operator<=>(SeenExample const&) const = default;
};

// The examples of a batch, segment by segment. Checks all that must hold between the arrays.
std::vector<SeenExample> examples_in(Batch const& batch) {
  std::vector<SeenExample> found;
  int64_t pairs = 0, targets = 0;
  CHECK(batch.isolated);
  for (size_t i = 0; i < batch.tokens.size(); ++i) {
    bool const starts = i % static_cast<size_t>(batch.length) == 0 || batch.segments[i] != batch.segments[i - 1];
    REQUIRE(batch.positions[i] == (starts ? 0 : batch.positions[i - 1] + 1));
    REQUIRE(batch.segments[i] == (i % static_cast<size_t>(batch.length) == 0 ? 0 : batch.segments[i - 1] + starts));
    if (starts) found.emplace_back();
    found.back().tokens.push_back(batch.tokens[i]);
    found.back().targets.push_back(batch.targets[i]);
    pairs += batch.positions[i] + 1;
    targets += batch.targets[i] != ignore_target;
  }
  CHECK(batch.pairs == pairs);
  CHECK(batch.target_count == targets);
  std::erase_if(found, [](SeenExample const& example) {
    bool const padding = example.tokens.front() == packed_end;
    if (padding) CHECK(std::all_of(example.targets.begin(), example.targets.end(), [](int64_t t) { return t == ignore_target; }));
    return padding;
  });
  return found;
}

// What is to be read of an example whose last `answer` tokens are the answer, in windows of `length`.
SeenExample expected_example(std::vector<int32_t> const& tokens, int64_t answer, int64_t length) {
  auto const cut = std::max<int64_t>(0, std::ssize(tokens) - 1 - length);
  SeenExample example;
  for (int64_t t = cut; t + 1 < std::ssize(tokens); ++t) {
    example.tokens.push_back(tokens[static_cast<size_t>(t)]);
    example.targets.push_back(t + 1 >= std::ssize(tokens) - answer ? tokens[static_cast<size_t>(t) + 1] : ignore_target);
  }
  return example;
}

std::vector<int64_t> some_lengths(int64_t count, int64_t most, uint64_t key) {
  std::vector<int64_t> lengths;
  for (int64_t i = 0; i < count; ++i)
    lengths.push_back(3 + static_cast<int64_t>(random_bits(key, static_cast<uint64_t>(i)) % static_cast<uint64_t>(most - 2)));
  return lengths;
}

std::vector<SeenExample> sorted(std::vector<SeenExample> examples) {
  std::sort(examples.begin(), examples.end());
  return examples;
}

}  // namespace

TEST_CASE("packing: each example is in one window, and windows are as full as best-fit decreasing makes them") {
  CHECK(pack_examples({5, 7, 4, 3, 1}, 10) == std::vector<std::vector<int64_t>>{{1, 3}, {0, 2, 4}});
  CHECK(pack_examples({6, 5, 4, 5}, 10) == std::vector<std::vector<int64_t>>{{0, 2}, {1, 3}});
  CHECK(pack_examples({10, 10}, 10) == std::vector<std::vector<int64_t>>{{0}, {1}});
  // The least room that takes it: 2 goes to the window with 2 left, not to the one with 3 left.
  CHECK(pack_examples({7, 8, 2, 3}, 10) == std::vector<std::vector<int64_t>>{{1, 2}, {0, 3}});
  for (uint64_t key = 1; key <= 20; ++key) {
    std::vector<int64_t> const lengths = some_lengths(300, 40, key);
    auto const windows = pack_examples(lengths, 40);
    std::vector<int64_t> seen;
    int64_t sum = 0;
    for (auto const& window : windows) {
      int64_t filled = 0;
      for (int64_t const example : window) {
        seen.push_back(example);
        filled += lengths[static_cast<size_t>(example)];
      }
      CHECK(filled <= 40);
      sum += filled;
    }
    std::sort(seen.begin(), seen.end());
    REQUIRE(std::ssize(seen) == 300);
    for (int64_t i = 0; i < 300; ++i) CHECK(seen[static_cast<size_t>(i)] == i);
    CHECK(std::ssize(windows) <= (sum + 39) / 40 * 11 / 9 + 1);
  }
}

TEST_CASE("packed examples: an epoch shows each whole and once, with the answers alone as targets") {
  ExamplesStream const text(some_lengths(70, 25, 4));  // inputs of up to 24 tokens: a few are longer than a window
  constexpr int64_t length = 20;
  std::vector<SeenExample> expected;
  for (auto const& example : text.examples) expected.push_back(expected_example(example, 2, length));
  PackedExamples const windows(*text.stream, length, 3, false), in_order(*text.stream, length, 9, true);
  int64_t const n = windows.count();
  REQUIRE(n > 10);
  CHECK(sorted(examples_in(windows.at(0, n))) == sorted(expected));
  CHECK(sorted(examples_in(windows.at(4 * n, n))) == sorted(expected));
  CHECK(sorted(examples_in(in_order.at(0, n))) == sorted(expected));
  CHECK(in_order.at(n - 1, 5).sequences == 1);
  CHECK(in_order.at(n, 5).sequences == 0);
  CHECK_THAT(windows.describe(), ContainsSubstring("70 examples") && ContainsSubstring("are longer than model.context and lost"));
}

TEST_CASE("packed examples: windows stay as they are, and their order is a function of seed and epoch") {
  ExamplesStream const text(some_lengths(60, 18, 5));
  PackedExamples const windows(*text.stream, 20, 3, false), other(*text.stream, 20, 4, false);
  int64_t const n = windows.count();
  auto const tokens = [](PackedExamples const& of, int64_t sample) { return of.at(sample, 1).tokens; };
  std::map<std::vector<int64_t>, int> epochs;
  std::map<std::vector<int64_t>, std::vector<int64_t>> numbers;  // window -> the number that it has with either seed and in order
  PackedExamples const in_order(*text.stream, 20, 3, true);
  int moved = 0, moved_by_seed = 0;
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t epoch = 0; epoch < 3; ++epoch) ++epochs[tokens(windows, epoch * n + i)];
    for (PackedExamples const* of : {&windows, &other, &in_order}) {
      Batch const batch = of->at(i, 1);
      numbers[batch.tokens].push_back(batch.windows.at(0));
    }
    moved += tokens(windows, i) != tokens(windows, n + i);
    moved_by_seed += tokens(windows, i) != tokens(other, i);
  }
  CHECK(std::ssize(epochs) == n);
  for (auto const& [window, count] : epochs) CHECK(count == 3);
  std::set<int64_t> different;
  for (auto const& [window, found] : numbers) {
    CHECK(found == std::vector<int64_t>(3, found.front()));
    different.insert(found.front());
  }
  CHECK(std::ssize(different) == n);
  CHECK(moved > n / 2);
  CHECK(moved_by_seed > n / 2);
  Batch const across = windows.at(n - 2, 5);  // on into the next epoch
  std::vector<int64_t> joined;
  for (int64_t i = 0; i < 5; ++i)
    for (int64_t const token : tokens(windows, n - 2 + i)) joined.push_back(token);
  CHECK(across.tokens == joined);
}

TEST_CASE("packed examples: one that is too long is cut where a question is that is scored") {
  std::string const context = "0123456789", answer = "abcdef";
  auto const tokenizer = byte_tokenizer();
  for (int64_t const length : {20, 15, 9, 6, 4, 1}) {
    EncodedOption const cut = encode_option({context, answer, "", 0}, *tokenizer, length);
    Scratch const scratch;
    std::vector<bool> targets(context.size());
    targets.resize(context.size() + answer.size(), true);
    write_shard(scratch / "x", {tokenizer->encode(context + answer)}, 256, 1, "x", {targets});
    TokenStream const stream({scratch / "x"});
    Batch const batch = PackedExamples(stream, length, 1, true).at(0, 1);
    std::vector<int64_t> predicted;
    for (int64_t const target : batch.targets)
      if (target != ignore_target) predicted.push_back(target);
    CHECK(predicted == std::vector<int64_t>(cut.continuation.begin(), cut.continuation.end()));
    CHECK(batch.tokens.front() == cut.context.front());
  }
}

TEST_CASE("packed examples: the windows that a stream gets") {
  ExamplesStream const text({5, 6});
  Scratch const scratch;
  write_shard(scratch / "plain", {{1, 2, 3, 4, 5, 6, 7, 8, 9}}, 10, 1, "x");
  TokenStream const plain({scratch / "plain"});
  CHECK(dynamic_cast<PackedExamples*>(training_windows(*text.stream, 8, 1, false).get()));
  CHECK(dynamic_cast<PackedExamples*>(ordered_windows(*text.stream, 8, false).get()));
  CHECK(dynamic_cast<Loader*>(training_windows(plain, 8, 1, false).get()));
  CHECK(dynamic_cast<Loader*>(ordered_windows(plain, 8, false).get()));
  ExamplesStream const short_one({5, 1}, 1);
  CHECK_THROWS_WITH(PackedExamples(*short_one.stream, 8, 1, false), ContainsSubstring("fewer than two tokens"));
}
