#include <catch2/catch_test_macros.hpp>
#include <map>

#include "data/tasks/encoded_items.h"

using namespace isobath;

namespace {

using Tokens = std::vector<int32_t>;

// Bytes, but for "ab", which is one token, and for a token before every text, where asked for.
class PairTokenizer : public Tokenizer {
 public:
  explicit PairTokenizer(bool starts) : starts_(starts) {}
  Tokens encode(std::string_view bytes) const override {
    Tokens ids;
    for (size_t i = 0; i < bytes.size(); ++i) {
      bool const pair = bytes.substr(i, 2) == "ab";
      ids.push_back(pair ? 300 : static_cast<unsigned char>(bytes[i]));
      if (pair) ++i;
    }
    return ids;
  }
  std::string const& piece(int32_t) const override { return none_; }
  int64_t vocab_size() const override { return 302; }
  int32_t document_end() const override { return 256; }
  int32_t text_start() const override { return 301; }
  bool starts_texts() const override { return starts_; }
  std::string fingerprint() const override { return "pairs"; }
  std::string kind() const override { return "pairs"; }
  std::string serialized() const override { return ""; }

 private:
  bool starts_;
  std::string none_;
};

EncodedOption encode_pair(std::string const& context, std::string const& continuation, bool starts = false, int64_t most = 100) {
  return encode_option({context, continuation, "", 0}, PairTokenizer(starts), most);
}

bool are(EncodedOption const& option, Tokens const& context, Tokens const& continuation, int64_t cut = 0) {
  return option.context == context && option.continuation == continuation && option.cut == cut;
}

}  // namespace

TEST_CASE("encoded option: spaces at the end of the context go to the continuation, and the whole is encoded at once") {
  CHECK(are(encode_pair("xy", " z"), {'x', 'y'}, {' ', 'z'}));
  CHECK(are(encode_pair("xy \n", "z"), {'x', 'y'}, {' ', '\n', 'z'}));
  CHECK(are(encode_pair("x\xc2\xa0 \xe3\x80\x80", "z"), {'x'}, {0xC2, 0xA0, ' ', 0xE3, 0x80, 0x80, 'z'}));
  CHECK(are(encode_pair("x\xc2\xa1", "z"), {'x', 0xC2, 0xA1}, {'z'}));
  // The context alone has two ids; of the whole, "ab" is the second, so what is behind two ids lacks the b.
  CHECK(are(encode_pair("xa", "bz"), {'x', 'a'}, {'z'}));
  CHECK(are(encode_pair("xa", "b"), {'x', 'a'}, {}));
  CHECK(are(encode_pair("xa", "b", false, 1), {'a'}, {}, 1));  // all of the context is read then
}

TEST_CASE("encoded option: a text is predicted from the token that starts one") {
  CHECK(are(encode_pair("", "xy"), {301}, {'x', 'y'}));
  CHECK(are(encode_pair(" ", "xy"), {301}, {' ', 'x', 'y'}));
  CHECK(are(encode_pair("", "xy", true), {301}, {'x', 'y'}));
  CHECK(are(encode_pair("x", "y", true), {301, 'x'}, {'y'}));
  CHECK(encode_option({"", "x", "", 0}, *byte_tokenizer(), 9).context == Tokens{256});
}

TEST_CASE("encoded option: what is too long loses its left end, and one token is left to predict the first from") {
  for (int64_t const most : {6, 5, 4, 3, 2, 1}) {  // s w x y z is an input of 5 tokens, without the last
    EncodedOption const option = encode_pair("wx", "yz!", true, most);
    Tokens whole{301, 'w', 'x', 'y', 'z', '!'};
    int64_t const cut = std::max<int64_t>(5 - most, 0);
    whole.erase(whole.begin(), whole.begin() + cut);
    Tokens joined = option.context;
    joined.insert(joined.end(), option.continuation.begin(), option.continuation.end());
    CHECK(joined == whole);
    CHECK(option.cut == cut);
    CHECK(std::ssize(option.continuation) == std::min<int64_t>(3, most));
  }
}
