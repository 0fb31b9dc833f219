// Depth by token, word and class, of invented tokens.
#include <catch2/catch_approx.hpp>
#include <catch2/catch_test_macros.hpp>
#include <cmath>
#include <nlohmann/json.hpp>

#include "trainer/evaluate/depth_analysis.h"
#include "trainer/report/statistics.h"

using namespace isobath;
using Catch::Approx;
using nlohmann::json;

namespace {

TokenOutcome token(std::string const& piece, int64_t depth, double loss, int64_t window = 0) {
  TokenOutcome outcome;
  outcome.piece = piece;
  outcome.depth = depth;
  outcome.loss_causal = loss;
  outcome.window = window;
  return outcome;
}

json analysed(std::vector<TokenOutcome> const& tokens, int64_t at_least = 1, size_t most = 10) {
  DepthAnalysis analysis(4);
  for (TokenOutcome const& one : tokens) analysis.add(one);
  CHECK_FALSE(analysis.table(at_least, most).empty());
  return json::parse(analysis.json(at_least, most).dump());
}

json const* entry(json const& list, std::string const& key, std::string const& name) {
  for (json const& one : list)
    if (one[key] == name) return &one;
  return nullptr;
}

}  // namespace

TEST_CASE("analysis: words are what stands between white space, as deep as their tokens on average", "[analysis]") {
  double const nan = std::nan("");
  json const result = analysed({token("the", 2, nan), token(" be", 4, 1), token("st", 2, 2), token(",", 3, 1), token(" ", 2, 1),
                                token("the", 4, 3), token("\n", 2, 1), token("", 2, 1), token("x", 3, 1)});
  json const& words = result["words"]["deepest"];  // above the mean depth of all tokens
  CHECK(words.size() == 2);
  CHECK(result["words"]["shallowest"].empty());
  REQUIRE(entry(words, "word", "the"));
  CHECK((*entry(words, "word", "the"))["count"] == 2);
  CHECK((*entry(words, "word", "the"))["depth"] == 3);
  CHECK((*entry(words, "word", "the"))["loss"] == 3);  // of the one that was predicted
  REQUIRE(entry(words, "word", "best,"));
  CHECK((*entry(words, "word", "best,"))["depth"] == 3);
  CHECK((*entry(words, "word", "best,"))["loss"] == 4);  // the sum of its tokens
  CHECK((*entry(words, "word", "best,"))["example"] == "the [best,]");
  CHECK_FALSE(entry(words, "word", "x"));  // the text ended in the middle of it
  CHECK(result["tokens_read"] == 9);
  CHECK(result["mean_depth"].get<double>() == Approx(24.0 / 9));
}

TEST_CASE("analysis: tokens have classes", "[analysis]") {
  json const classes = analysed({token("A", 1, 1), token("b", 1, 1), token(" c", 1, 1), token("12", 1, 1), token("!?", 1, 1),
                                 token("  ", 1, 1), token(" \n", 1, 1), token("\xc3\xa9", 1, 1), token("", 1, 1)})["classes"];
  auto const count = [&](char const* name) {
    return entry(classes, "class", name) ? (*entry(classes, "class", name))["count"].get<int>() : 0;
  };
  CHECK(count("word start") == 2);
  for (char const* name : {"inside a word", "digits", "punctuation", "white space", "line break", "beyond ASCII", "document end"}) {
    CAPTURE(name);
    CHECK(count(name) == 1);
  }
}

TEST_CASE("analysis: the deepest and the shallowest, common ones first where they are equally deep", "[analysis]") {
  std::vector<TokenOutcome> tokens;
  auto const add = [&](std::string const& piece, int64_t depth, int times) {
    for (int i = 0; i < times; ++i) tokens.push_back(token(piece, depth, 1));
  };
  add("rare", 4, 2);
  add("deep", 4, 3);
  add("deeper", 4, 5);
  add("low", 2, 4);
  add("middle", 3, 9);
  json const found = analysed(tokens, 3, 2)["tokens"];
  CHECK(found["deepest"][0]["piece"] == "deeper");
  CHECK(found["deepest"][1]["piece"] == "deep");
  CHECK(found["shallowest"][0]["piece"] == "low");
  CHECK(found["shallowest"][1]["piece"] == "middle");
  CHECK(found["deepest"].size() == 2);
  CHECK_FALSE(entry(found["shallowest"], "piece", "rare"));
}

TEST_CASE("analysis: correlation of depth with surprisal, by token and by window", "[analysis]") {
  std::vector<TokenOutcome> tokens;
  for (int i = 0; i < 400; ++i) tokens.push_back(token("t", i % 4, 0.5 * (i % 4) + (i % 3 == 0 ? 0.3 : 0), i / 10));
  json const result = analysed(tokens);
  double const r = result["correlation_tokens"]["r"];
  CHECK(r > 0.9);
  CHECK(result["correlation_tokens"]["ci95"][0].get<double>() < r);
  CHECK(result["correlation_tokens"]["ci95"][1].get<double>() > r);
  std::vector<double> const tenths = result["depth_by_surprisal_tenth"];
  CHECK(tenths.size() == 10);
  CHECK(std::is_sorted(tenths.begin(), tenths.end()));
  CHECK(tenths.back() == 3);
  // Against the formula, of few pairs.
  Correlation const few = correlation({{1, 2}, {2, 1}, {3, 4}, {4, 3}, {5, 6}});
  CHECK(few.r == Approx(0.8219949365));
  CHECK(few.low == Approx(std::tanh(std::atanh(few.r) - 1.96 / std::sqrt(2.0))));
  CHECK(std::isnan(correlation({{1, 2}, {1, 3}, {1, 4}, {1, 5}}).r));
  CHECK(std::isnan(correlation({{1, 2}, {2, 3}, {3, 4}}).r));
}

TEST_CASE("analysis: where every token has the same depth the table says so", "[analysis]") {
  DepthAnalysis same(4), other(4);
  for (int i = 0; i < 9; ++i) {
    same.add(token(i == 0 ? "" : "t", 3, i == 0 ? std::nan("") : 1));
    other.add(token("t", i == 8 ? 4 : 3, 1));
  }
  CHECK(same.table(1, 5).find("every token has the same depth") != std::string::npos);
  CHECK(same.table(1, 5).find("deepest") == std::string::npos);
  CHECK(same.table(1, 5).find("nan") == std::string::npos);
  CHECK(other.table(1, 5).find("every token has the same depth") == std::string::npos);
  CHECK(other.table(1, 5).find("deepest tokens") != std::string::npos);
}
