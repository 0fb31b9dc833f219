#include "trainer/evaluate/depth_analysis.h"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <cmath>
#include <nlohmann/json.hpp>

#include "core/columns.h"
#include "trainer/metrics/metric.h"
#include "trainer/report/statistics.h"

namespace isobath {

namespace {

using Json = nlohmann::ordered_json;

constexpr size_t most_pairs = size_t{1} << 20, shown_before = 24, surprisal_bins = 10;

bool is_space(char c) { return std::isspace(static_cast<unsigned char>(c)) != 0; }

template <typename Predicate>
bool all_of(std::string const& text, Predicate predicate) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [&](char c) { return predicate(static_cast<unsigned char>(c)); });
}

std::string without_leading_space(std::string const& text) {
  return text.substr(static_cast<size_t>(std::find_if_not(text.begin(), text.end(), is_space) - text.begin()));
}

// As JSON writes it, for pieces of any bytes.
std::string quoted(std::string const& text) { return Json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace); }

Json json_of(Correlation const& c) { return {{"r", finite_or_null(c.r)}, {"ci95", {finite_or_null(c.low), finite_or_null(c.high)}}}; }

std::string text_of(Correlation const& c) {
  return std::isfinite(c.r) ? fmt::format("{:+.3f} (95 %: {:+.3f} to {:+.3f})", c.r, c.low, c.high) : "- (all values are alike)";
}

}  // namespace

double DepthAnalysis::Tally::mean_loss() const { return predicted > 0 ? loss / static_cast<double>(predicted) : std::nan(""); }

void DepthAnalysis::Tally::add(double of_depth, double of_loss) {
  ++count;
  depth += of_depth;
  if (!std::isfinite(of_loss)) return;
  ++predicted;
  loss += of_loss;
}

void DepthAnalysis::add(TokenOutcome const& token) {
  if (!token.read) return end_word();
  auto const depth = static_cast<double>(token.depth);
  same_depth_ &= all_.count == 0 || depth == all_.mean_depth();
  all_.add(depth, token.loss_causal);
  windows_[token.window].add(depth, token.loss_causal);
  if (std::isfinite(token.loss_causal) && pairs_.size() < most_pairs) pairs_.emplace_back(depth, token.loss_causal);
  classes_[class_of(token)].add(depth, token.loss_causal);
  Tally& tally = tokens_[token.piece];
  if (tally.count == 0) tally.example = before_ + "[" + token.piece + "]";
  tally.add(depth, token.loss_causal);
  add_to_word(token);
  before_ += token.piece;
  if (before_.size() > shown_before) before_.erase(0, before_.size() - shown_before);
  if (token.piece.empty()) before_.clear();  // the end of a document
}

// A word is what stands between white space.
void DepthAnalysis::add_to_word(TokenOutcome const& token) {
  std::string const rest = without_leading_space(token.piece);
  if (token.piece.empty() || rest.size() < token.piece.size()) end_word();
  if (rest.empty()) return;
  if (word_.empty()) word_before_ = before_ + token.piece.substr(0, token.piece.size() - rest.size());
  word_ += rest;
  word_tokens_.emplace_back(static_cast<double>(token.depth), token.loss_causal);
  if (is_space(rest.back())) end_word();
}

void DepthAnalysis::end_word() {
  if (word_.empty()) return;
  double depth = 0, loss = 0;
  for (auto const& [of_token, of_loss] : word_tokens_) {
    depth += of_token;
    loss += of_loss;  // of the whole word: the sum; NaN where a token was not predicted
  }
  Tally& tally = words_[word_];
  if (tally.count == 0) tally.example = word_before_ + "[" + word_ + "]";
  tally.add(depth / static_cast<double>(word_tokens_.size()), loss);
  word_.clear();
  word_tokens_.clear();
}

std::string DepthAnalysis::class_of(TokenOutcome const& token) const {
  std::string const rest = without_leading_space(token.piece);
  if (token.piece.empty()) return "document end";
  if (rest.empty()) return token.piece.find('\n') != std::string::npos ? "line break" : "white space";
  if (all_of(rest, [](unsigned char c) { return std::isdigit(c) != 0; })) return "digits";
  if (all_of(rest, [](unsigned char c) { return std::ispunct(c) != 0; })) return "punctuation";
  if (!all_of(rest, [](unsigned char c) { return c < 0x80; })) return "beyond ASCII";
  bool const starts = rest.size() < token.piece.size() || before_.empty() || is_space(before_.back());
  return starts ? "word start" : "inside a word";
}

std::vector<std::pair<double, double>> DepthAnalysis::windows() const {
  std::vector<std::pair<double, double>> pairs;
  for (auto const& [window, tally] : windows_)
    if (tally.predicted > 0) pairs.emplace_back(tally.mean_depth(), tally.mean_loss());
  return pairs;
}

std::vector<double> DepthAnalysis::depth_by_surprisal() const {
  std::vector<std::pair<double, double>> sorted;  // loss first
  for (auto const& [depth, loss] : pairs_) sorted.emplace_back(loss, depth);
  std::stable_sort(sorted.begin(), sorted.end(), [](auto const& a, auto const& b) { return a.first < b.first; });
  std::vector<double> means;
  for (size_t bin = 0; bin < surprisal_bins && sorted.size() >= surprisal_bins; ++bin) {
    size_t const from = bin * sorted.size() / surprisal_bins, to = (bin + 1) * sorted.size() / surprisal_bins;
    double sum = 0;
    for (size_t i = from; i < to; ++i) sum += sorted[i].second;
    means.push_back(sum / static_cast<double>(to - from));
  }
  return means;
}

DepthAnalysis::Extremes DepthAnalysis::extremes(Tallies const& tallies, int64_t at_least, size_t most) const {
  double const mean = all_.mean_depth();
  // Equally deep ones by how often they occur.
  auto const sorted = [&](bool deepest) {
    std::vector<Tallies::const_iterator> order;
    for (auto it = tallies.begin(); it != tallies.end(); ++it) {
      bool const common = it->second.count >= at_least && !it->first.empty();
      if (common && (deepest ? it->second.mean_depth() > mean : it->second.mean_depth() < mean)) order.push_back(it);
    }
    std::stable_sort(order.begin(), order.end(), [&](auto const& a, auto const& b) {
      double const x = a->second.mean_depth(), y = b->second.mean_depth();
      return x != y ? (deepest ? x > y : x < y) : a->second.count > b->second.count;
    });
    order.resize(std::min(order.size(), most));
    return order;
  };
  return {sorted(true), sorted(false)};
}

Json DepthAnalysis::json(int64_t at_least, size_t most) const {
  auto const entry = [](std::string const& key, std::string const& name, Tally const& tally) {
    Json json = {{key, name}, {"count", tally.count}, {"depth", tally.mean_depth()}, {"loss", finite_or_null(tally.mean_loss())}};
    if (!tally.example.empty()) json["example"] = tally.example;
    return json;
  };
  auto const lists = [&](std::string const& key, Tallies const& tallies) {
    Extremes const found = extremes(tallies, at_least, most);
    Json json = {{"deepest", Json::array()}, {"shallowest", Json::array()}};
    for (auto const& it : found.deepest) json["deepest"].push_back(entry(key, it->first, it->second));
    for (auto const& it : found.shallowest) json["shallowest"].push_back(entry(key, it->first, it->second));
    return json;
  };
  Json classes = Json::array();
  for (auto const& [name, tally] : classes_) classes.push_back(entry("class", name, tally));
  return {{"tokens_read", all_.count},
          {"layers", layers_},
          {"mean_depth", all_.count > 0 ? Json(all_.mean_depth()) : Json(nullptr)},
          {"correlation_tokens", json_of(correlation(pairs_))},
          {"correlation_windows", json_of(correlation(windows()))},
          {"depth_by_surprisal_tenth", depth_by_surprisal()},
          {"classes", std::move(classes)},
          {"at_least", at_least},
          {"tokens", lists("piece", tokens_)},
          {"words", lists("word", words_)}};
}

std::string DepthAnalysis::class_table() const {
  std::vector<std::vector<std::string>> rows{{"class", "tokens", "depth", "loss"}};
  for (auto const& [name, tally] : classes_)
    rows.push_back({name, fmt::format("{:.1f} %", 100.0 * static_cast<double>(tally.count) / static_cast<double>(all_.count)),
                    fmt::format("{:.2f}", tally.mean_depth()), tally.predicted > 0 ? fmt::format("{:.2f}", tally.mean_loss()) : "-"});
  return aligned_columns(rows);
}

std::string DepthAnalysis::table(int64_t at_least, size_t most) const {
  std::string text = fmt::format("{} tokens, {:.2f} of {} blocks each\n", all_.count, all_.mean_depth(), layers_);
  std::string const by_class = "\n" + class_table();
  if (same_depth_)
    return text + "every token has the same depth, as in any dense model: no token or word gets more than another\n" + by_class;
  text += "depth against surprisal (the loss of predicting the token): " + text_of(correlation(pairs_)) + " by token, " +
          text_of(correlation(windows())) + " by window\n";
  text += "depth in tenths of surprisal, lowest first:";
  for (double const depth : depth_by_surprisal()) text += fmt::format(" {:.2f}", depth);
  text += "\n" + by_class;
  auto const list = [&](char const* what, std::vector<Tallies::const_iterator> const& found) {
    std::vector<std::vector<std::string>> lines{{what, "count", "depth", "loss", "example"}};
    for (auto const& it : found)
      lines.push_back({quoted(it->first), std::to_string(it->second.count), fmt::format("{:.2f}", it->second.mean_depth()),
                       fmt::format("{:.2f}", it->second.mean_loss()), quoted(it->second.example)});
    text += "\n" + aligned_columns(lines);
  };
  Extremes const tokens = extremes(tokens_, at_least, most), words = extremes(words_, at_least, most);
  list("deepest tokens", tokens.deepest);
  list("shallowest tokens", tokens.shallowest);
  list("deepest words", words.deepest);
  list("shallowest words", words.shallowest);
  return text;
}

}  // namespace isobath
