#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>

#include "core/error.h"
#include "data/shards/shards.h"
#include "tests/fast/scratch.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

using Documents = std::vector<std::vector<int32_t>>;

std::vector<int64_t> all_of(TokenStream const& stream) {
  std::vector<int64_t> tokens(static_cast<size_t>(stream.size()));
  stream.copy(0, tokens);
  return tokens;
}

Documents numbered(int32_t first, size_t count) {
  Documents documents(count);
  for (size_t i = 0; i < count; ++i) {
    for (size_t j = 0; j < i % 4; ++j) documents[i].push_back(first++);
  }
  return documents;
}

}  // namespace

TEST_CASE("shards: tokens, documents and what they stand for come back") {
  Scratch const scratch;
  for (int32_t const offset : {0, 65'000, 70'000}) {
    Documents const documents{{offset + 1, offset + 2}, {}, {offset + 3}};
    write_shard(scratch / "a.shard", documents, 9, 123, "0123456789abcdef");
    Shard const shard(scratch / "a.shard", true);
    CHECK(shard.info().tokens == 6);
    CHECK(shard.info().documents == 3);
    CHECK(shard.info().bytes == 123);
    CHECK(shard.info().token_bytes == (offset == 70'000 ? 4 : 2));
    CHECK(shard.info().tokenizer_fingerprint == "0123456789abcdef");
    std::vector<int32_t> tokens;
    for (int64_t i = 0; i < 6; ++i) tokens.push_back(shard.token(i));
    CHECK(tokens == std::vector<int32_t>{offset + 1, offset + 2, 9, 9, offset + 3, 9});
    std::vector<int64_t> part(3);
    shard.copy(2, part);
    CHECK(part == std::vector<int64_t>{9, 9, offset + 3});
    auto const starts = shard.document_starts();
    CHECK(std::vector<uint64_t>(starts.begin(), starts.end()) == std::vector<uint64_t>{0, 3, 4});
  }
  CHECK(std::distance(fs::directory_iterator(scratch.path()), fs::directory_iterator()) == 1);
}

TEST_CASE("shards: the largest 16-bit id fits, the next one widens") {
  Scratch const scratch;
  write_shard(scratch / "a", {{65'535}}, 0, 1, "x");
  write_shard(scratch / "b", {{65'536}}, 0, 1, "x");
  CHECK(Shard(scratch / "a").info().token_bytes == 2);
  CHECK(Shard(scratch / "a").token(0) == 65'535);
  CHECK(Shard(scratch / "b").info().token_bytes == 4);
  CHECK(Shard(scratch / "b").token(0) == 65'536);
}

TEST_CASE("shards: those of version 1 are read, and written where nothing is said of targets") {
  std::string const hex =
      "49534f53484152440100000002000000070000000000000003000000000000000a00000000000000303132333435363738396162636465660000000000000000"
      "00000000000000000000000000000000000000000000000000000000000000000000000000000000e70a58ded5faa25125818363ea0a38f30000000000000000"
      "040000000000000005000000000000000100020003000500050004000500";
  std::string bytes;
  for (size_t i = 0; i < hex.size(); i += 2) bytes += static_cast<char>(std::stoi(hex.substr(i, 2), nullptr, 16));
  Scratch const scratch;
  Shard const shard(scratch.write("old", bytes), true);
  CHECK((shard.info().tokens == 7 && shard.info().documents == 3 && !shard.info().has_targets));
  TokenStream const stream({scratch / "old"});
  CHECK(all_of(stream) == std::vector<int64_t>{1, 2, 3, 5, 5, 4, 5});
  CHECK_FALSE(stream.has_targets());
  CHECK(stream.targets(0, 7) == std::vector<bool>(7, true));
  write_shard(scratch / "new", {{1, 2, 3}, {}, {4}}, 5, 10, "0123456789abcdef");
  CHECK(read_file(scratch / "new") == bytes);
}

TEST_CASE("shards: which tokens are to be predicted comes back") {
  Scratch const scratch;
  Documents const first = numbered(1, 9), second = numbered(100, 12);
  std::vector<bool> expected;
  uint64_t count = 0;
  auto const targets_of = [&](Documents const& documents) {
    std::vector<std::vector<bool>> targets;
    for (auto const& document : documents) {
      targets.emplace_back();
      for (size_t i = 0; i < document.size(); ++i) {
        targets.back().push_back(count++ % 3 == 1);
        expected.push_back(targets.back().back());
      }
      expected.push_back(false);
    }
    return targets;
  };
  write_shard(scratch / "0", first, 99, 10, "x", targets_of(first));
  write_shard(scratch / "1", second, 99, 10, "x", targets_of(second));
  TokenStream const stream({scratch / "0", scratch / "1"});
  CHECK(stream.has_targets());
  for (int64_t from = 0; from <= stream.size(); ++from)
    for (int64_t to = from; to <= stream.size(); ++to)
      REQUIRE(stream.targets(from, to) == std::vector<bool>(expected.begin() + from, expected.begin() + to));
  CHECK_THROWS_AS(stream.targets(0, stream.size() + 1), Error);
}

TEST_CASE("shards: damage of any byte is found, truncation at any length too") {
  Scratch const scratch;
  write_shard(scratch / "a", {{1, 2, 3}, {4}}, 5, 10, "0123456789abcdef", {{false, true, true}, {true}});
  std::string const whole = read_file(scratch / "a");
  CHECK_NOTHROW(Shard(scratch / "a", true));
  for (size_t i = 0; i < whole.size(); ++i) {
    INFO("byte " << i);
    std::string damaged = whole;
    damaged[i] = static_cast<char>(damaged[i] ^ 0x10);
    scratch.write("b", damaged);
    CHECK_THROWS_AS(Shard(scratch / "b", true), Error);
    scratch.write("b", whole.substr(0, i));
    CHECK_THROWS_AS(Shard(scratch / "b", false), Error);  // without reading the tokens
  }
  scratch.write("b", whole + "x");
  CHECK_THROWS_AS(Shard(scratch / "b"), Error);
  try {
    scratch.write("b", whole.substr(0, whole.size() - 1));
    Shard shard(scratch / "b");
    FAIL("was opened");
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::data);
    CHECK_THAT(error.what(), ContainsSubstring((scratch / "b").string()) && ContainsSubstring(std::to_string(whole.size())));
  }
}

TEST_CASE("shards: headers with the right checksums that promise what no shard holds are refused") {
  Scratch const scratch;
  write_shard(scratch / "a", {{1, 2, 3}, {4}}, 5, 10, "0123456789abcdef");
  std::string const whole = read_file(scratch / "a");
  constexpr size_t token_bytes = 12, tokens = 16, documents = 24, fingerprint = 40, second_start = 128, header = 120;
  auto const refused = [&](size_t at, uint64_t value, size_t size) {
    std::string bytes = whole;
    bytes.replace(at, size, reinterpret_cast<char const*>(&value), size);
    auto const put_checksum = [&](size_t to, std::string_view of) {
      uint64_t const sum = checksum(std::as_bytes(std::span(of)));
      bytes.replace(to, sizeof sum, reinterpret_cast<char const*>(&sum), sizeof sum);
    };
    put_checksum(header - 16, std::string_view(bytes).substr(header));
    put_checksum(header - 8, std::string_view(bytes).substr(0, header - 8));
    try {
      Shard(scratch.write("b", bytes), true);
    } catch (Error const& error) {
      return error.code() == ExitCode::data;
    }
    return false;
  };
  CHECK(refused(documents, 2 + (uint64_t{1} << 61), 8));  // times 8 is 16 again
  CHECK(refused(tokens, 6 + (uint64_t{1} << 63), 8));
  CHECK(refused(token_bytes, 0, 4));
  CHECK(refused(token_bytes, 1, 4));
  CHECK(refused(fingerprint + 56, ~uint64_t{0}, 8));  // no end of the text
  CHECK(refused(second_start, 0, 8));
  CHECK(refused(second_start, 6, 8));
}

TEST_CASE("shards: several read as one stream") {
  Scratch const scratch;
  Documents const first = numbered(1, 7), second = numbered(100, 1), third = numbered(200, 9);
  write_shard(scratch / "0", first, 99, 10, "x");
  write_shard(scratch / "1", second, 99, 20, "x");
  write_shard(scratch / "2", third, 99, 30, "x");
  TokenStream const stream({scratch / "0", scratch / "1", scratch / "2"});

  std::vector<int64_t> expected, starts;
  for (auto const* documents : {&first, &second, &third}) {
    for (auto const& document : *documents) {
      starts.push_back(static_cast<int64_t>(expected.size()));
      expected.insert(expected.end(), document.begin(), document.end());
      expected.push_back(99);
    }
  }
  REQUIRE(all_of(stream) == expected);
  CHECK(stream.documents() == 17);
  CHECK(stream.text_bytes() == 60);
  for (int64_t from = 0; from <= stream.size(); ++from) {
    for (int64_t to = from; to <= stream.size(); ++to) {
      std::vector<int64_t> part(static_cast<size_t>(to - from));
      stream.copy(from, part);
      REQUIRE(part == std::vector<int64_t>(expected.begin() + from, expected.begin() + to));
      std::vector<int64_t> inside;
      for (int64_t const start : starts) {
        if (start >= from && start < to) inside.push_back(start);
      }
      REQUIRE(stream.document_starts_in(from, to) == inside);
    }
  }
  std::vector<int64_t> beyond(2);
  CHECK_THROWS_AS(stream.copy(stream.size() - 1, beyond), Error);
  CHECK_THROWS_AS(stream.copy(-1, beyond), Error);
}

TEST_CASE("shards: a stream refuses shards of different tokenizers") {
  Scratch const scratch;
  write_shard(scratch / "0", {{1}}, 2, 1, "x");
  write_shard(scratch / "1", {{1}}, 2, 1, "y");
  CHECK_THROWS_WITH(TokenStream({scratch / "0", scratch / "1"}), ContainsSubstring("different tokenizers"));
}
