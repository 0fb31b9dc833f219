#include <catch2/catch_test_macros.hpp>
#include <catch2/matchers/catch_matchers_string.hpp>
#include <string>
#include <vector>

#include "core/error.h"
#include "core/random.h"
#include "core/utf8.h"
#include "trainer/generate/text_stream.h"

using namespace isobath;
using Catch::Matchers::ContainsSubstring;

namespace {

using Strings = std::vector<std::string>;

// What a stream gave for each piece, and last for finish().
Strings outputs(Strings const& pieces, Strings const& stops = {}) {
  TextStream stream(stops);
  Strings out;
  for (std::string const& piece : pieces) out.push_back(stream.add(piece));
  out.push_back(stream.finish());
  return out;
}

std::string joined(Strings const& parts) {
  std::string out;
  for (std::string const& part : parts) out += part;
  return out;
}

std::string whole(std::string const& text, Strings const& stops = {}) { return joined(outputs({text}, stops)); }

bool stops_in(std::string const& text, Strings const& stops) {
  TextStream stream(stops);
  stream.add(text);
  return stream.stopped();
}

// Cuts of a text into pieces of up to `longest` bytes, empty ones among them.
Strings random_pieces(std::string const& text, uint64_t seed, uint64_t longest) {
  Strings pieces;
  for (size_t begin = 0, n = 0; begin < text.size(); ++n) {
    pieces.push_back(text.substr(begin, random_bits(seed, n) % (longest + 1)));
    begin += pieces.back().size();
  }
  return pieces;
}

// The definition of a stop, byte by byte, over text that is shown as a whole.
std::string stopped_reference(std::string const& text, Strings const& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    size_t longest = 0;
    for (std::string const& stop : stops) {
      if (std::string_view(text).substr(0, end).ends_with(stop)) longest = std::max(longest, stop.size());
    }
    if (longest > 0) return text.substr(0, end - longest);
  }
  return text;
}

}  // namespace

TEST_CASE("text stream: any split of a text gives the same text, in whole characters") {
  std::string const text = "plain, na\u00efve \u2603 \u20ac \U0001f600\U00010348 \u65e5\u672c\u8a9e\n\u00e9\u00e9 end \U0010ffff";
  for (uint64_t seed = 0; seed < 500; ++seed) {
    Strings const out = outputs(random_pieces(text, seed, 1 + seed % 9));
    REQUIRE(joined(out) == text);
    for (std::string const& part : out) REQUIRE(utf8_prefix(part) == part.size());
  }
}

TEST_CASE("text stream: a character is shown with its last byte, no later") {
  CHECK(outputs({"a", "\xe2", "\x82", "\xac", "b"}) == Strings{"a", "", "", "\u20ac", "b", ""});
  CHECK(outputs({"x\xf0\x9f", "\x98\x80y"}) == Strings{"x", "\U0001f600y", ""});
}

TEST_CASE("text stream: bytes that are no UTF-8 come as one U+FFFD a maximal subpart") {
  auto const expect = [](std::string const& bytes, std::string shown) {
    for (size_t at = 0; (at = shown.find('?', at)) != std::string::npos;) shown.replace(at, 1, "\ufffd");
    CHECK(whole(bytes) == shown);
    for (uint64_t seed = 0; seed < 20; ++seed) CHECK(joined(outputs(random_pieces(bytes, seed, 3))) == shown);
  };
  // Tables 3-8 to 3-11 of the Unicode standard.
  expect("\xc0\xaf\xe0\x80\xbf\xf0\x81\x82\x41", "????????A");
  expect("\xed\xa0\x80\xed\xbf\xbf\xed\xaf\x41", "????????A");
  expect("\xf4\x91\x92\x93\xff\x41\x80\xbf\x42", "?????A??B");
  expect("\xe1\x80\xe2\xf0\x91\x92\xf1\xbf\x41", "????A");
  expect("\x61\xf1\x80\x80\xe1\x80\xc2\x62\x80\x63\x80\xbf\x64", "a???b?c??d");
  // Truncated at the end: one, and only finish() knows.
  expect("a\xf0\x9f\x98", "a?");
  expect("a\xc3", "a?");
  CHECK(outputs({"a\xf0\x9f\x98"}) == Strings{"a", "\ufffd"});
  // A byte that no continuation can rescue does not wait.
  CHECK(outputs({"\x80", "\xff", "\xc0", "\xe0\x80", "\xed\xa0"}) ==
        Strings{"\ufffd", "\ufffd", "\ufffd", "\ufffd\ufffd", "\ufffd\ufffd", ""});
  expect(std::string("a\0b\0", 4), std::string("a\0b\0", 4));
}

TEST_CASE("text stream: a maximal subpart is the longest beginning of any character") {
  // Every proper beginning of every character, as a number whose leading 1 tells its length.
  std::vector<bool> begins(1u << 25);
  auto const code = [](std::string_view bytes) {
    size_t value = 1;
    for (char const byte : bytes) value = value << 8 | static_cast<unsigned char>(byte);
    return value;
  };
  for (uint32_t c = 0; c <= 0x10ffff; ++c) {
    if (c >= 0xd800 && c < 0xe000) continue;
    char const tails[] = {static_cast<char>(0x80 | (c >> 12 & 63)), static_cast<char>(0x80 | (c >> 6 & 63)),
                          static_cast<char>(0x80 | (c & 63))};
    std::string character;
    if (c < 0x80) {
      character = {static_cast<char>(c)};
    } else if (c < 0x800) {
      character = {static_cast<char>(0xc0 | c >> 6), tails[2]};
    } else if (c < 0x10000) {
      character = {static_cast<char>(0xe0 | c >> 12), tails[1], tails[2]};
    } else {
      character = {static_cast<char>(0xf0 | c >> 18), tails[0], tails[1], tails[2]};
    }
    if (utf8_length(character) != character.size() || utf8_beginning(character) != character.size()) FAIL("character " << c);
    for (size_t n = 1; n < character.size(); ++n) begins[code(std::string_view(character).substr(0, n))] = true;
  }
  int64_t checked = 0;
  for (uint64_t n = 0; n < 500'000; ++n) {
    uint64_t const bits = random_bits(7, n);
    std::string bytes{static_cast<char>(bits % 2 ? 0xc0 | (bits >> 8 & 63) : bits >> 8), static_cast<char>(bits >> 16),
                      static_cast<char>(bits >> 24), static_cast<char>(bits >> 32)};
    for (size_t i = 1; i < 4; ++i) {  // most continue
      if (bits >> (40 + 2 * i) & 3) bytes[i] = static_cast<char>(0x80 | (bytes[i] & 63));
    }
    bytes.resize(1 + (bits >> 60) % 4);
    if (utf8_length(bytes) > 0) continue;
    size_t longest = 0;
    while (longest < std::min<size_t>(3, bytes.size()) && begins[code(std::string_view(bytes).substr(0, longest + 1))]) ++longest;
    if (utf8_beginning(bytes) != longest) FAIL("bytes " << std::hex << code(bytes));
    ++checked;
  }
  CHECK(checked > 125'000);
}

TEST_CASE("text stream: nothing of a stop string is shown") {
  CHECK(outputs({"one ST", "OP two", "three"}, {"STOP"}) == Strings{"one ", "", "", ""});
  CHECK(outputs({"one ST", "ART", " ST"}, {"STOP"}) == Strings{"one ", "START", " ", "ST"});
  CHECK(outputs({"a", "a", "a", "b"}, {"aab"}) == Strings{"", "", "a", "", ""});
  CHECK(outputs({"x\n", "\n", "User:"}, {"\n\n"}) == Strings{"x", "", "", ""});
  CHECK(outputs({"STOP"}, {"STOP"}) == Strings{"", ""});
  // Half of a character of a stop string.
  CHECK(outputs({"f\u00fcr \xe6\x97", "\xa5\u672c x"}, {"\u65e5\u672c"}) == Strings{"f\u00fcr ", "", ""});
  CHECK(outputs({"\u65e5", "\u65e5\u672c"}, {"\u65e5\u672c"}) == Strings{"", "\u65e5", ""});
  // A stop string that follows half a character.
  CHECK(outputs({"\xe6\x97", "END"}, {"END"}) == Strings{"", "\ufffd", ""});
  CHECK(stops_in("aab", {"aab"}));
  CHECK_FALSE(stops_in("aa", {"aab"}));
  TextStream stream({"END"});
  CHECK(stream.add("xEN") == "x");
  CHECK_FALSE(stream.stopped());
  CHECK(stream.add("D").empty());
  CHECK(stream.stopped());
}

TEST_CASE("text stream: the first stop string to complete wins, the longest of those that complete together") {
  CHECK(whole("xxabcd", {"abc", "ab"}) == "xx");
  CHECK(whole("xxabcd", {"abcd", "bc"}) == "xxa");
  CHECK(whole("xxabcd", {"c", "abc", "bc"}) == "xx");
  CHECK(whole("xxabcd", {"bc", "c", "abc"}) == "xx");
  CHECK(whole("1 b 2 a", {"a", "b"}) == "1 ");
  CHECK(outputs({"ab", "x"}, {"abc", "abd"}) == Strings{"", "abx", ""});
}

TEST_CASE("text stream: stop strings are met wherever pieces end") {
  std::vector<Strings> const stops{{"aab"}, {"abab", "ba"}, {"aaa", "aaaab"}, {"\u00e9a", "\u00e9\u00e9"}, {"b\u00e9b", "ab", "\u00e9ba"}};
  int64_t stopped = 0;
  for (uint64_t seed = 0; seed < 3000; ++seed) {
    std::string text;
    for (uint64_t n = 0; n < random_bits(seed, 0) % 12; ++n) text += Strings{"a", "b", "\u00e9"}[random_bits(seed, n + 1) % 3];
    Strings const& chosen = stops[seed % stops.size()];
    std::string const expected = stopped_reference(text, chosen);
    INFO("text " << text << ", stops at " << chosen[0]);
    TextStream stream(chosen);
    std::string shown;
    for (std::string const& piece : random_pieces(text, seed, 4)) shown += stream.add(piece);
    REQUIRE(expected.starts_with(shown));
    REQUIRE(shown + stream.finish() == expected);
    REQUIRE(stream.stopped() == (expected != text));
    stopped += stream.stopped();
  }
  CHECK((stopped > 500 && stopped < 2500));
}

TEST_CASE("text stream: stop strings that cannot be met are refused") {
  auto const code = [](Strings const& stops) {
    try {
      TextStream stream(stops);
    } catch (Error const& error) {
      return error.code();
    }
    return ExitCode::ok;
  };
  CHECK(code({"a", ""}) == ExitCode::config);
  CHECK(code({"a\xff"}) == ExitCode::config);
  CHECK(code({"a", "\u00e9"}) == ExitCode::ok);
  CHECK_THROWS_WITH(TextStream({""}), ContainsSubstring("empty"));
  CHECK_THROWS_WITH(TextStream({"a\xff"}), ContainsSubstring("byte 2"));
}
