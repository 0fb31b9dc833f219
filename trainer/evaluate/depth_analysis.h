#pragma once
// Which inputs get the compute: depth by token, by word, by class of token, and against surprisal.

#include <cstdint>
#include <map>
#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "trainer/evaluate/token_outcomes.h"

namespace isobath {

// Words and tokens that occur less often than this say little; the length of each list.
constexpr int64_t default_at_least = 16;
constexpr size_t default_most = 12;

class DepthAnalysis {
 public:
  // layers: of the model.
  explicit DepthAnalysis(int64_t layers) : layers_(layers) {}
  void add(TokenOutcome const& token);

  // Words and tokens that occur at least `at_least` times: the `most` deepest and the `most` shallowest.
  nlohmann::ordered_json json(int64_t at_least, size_t most) const;
  std::string table(int64_t at_least, size_t most) const;

 private:
  struct Tally {
    int64_t count = 0, predicted = 0;
    double depth = 0, loss = 0;  // sums
    std::string example;         // the first one, with what stands before it
    double mean_depth() const { return depth / static_cast<double>(count); }
    double mean_loss() const;
    void add(double of_depth, double of_loss);
  };
  using Tallies = std::map<std::string, Tally>;
  struct Extremes {
    std::vector<Tallies::const_iterator> deepest, shallowest;
  };

  void add_to_word(TokenOutcome const& token);
  void end_word();
  std::string class_table() const;
  std::string class_of(TokenOutcome const& token) const;
  std::vector<std::pair<double, double>> windows() const;  // mean depth and mean loss of each
  std::vector<double> depth_by_surprisal() const;          // mean depth of the tokens in each tenth of the losses, lowest first
  // The deepest of those above the mean depth of all tokens, and the shallowest of those below it.
  Extremes extremes(Tallies const& tallies, int64_t at_least, size_t most) const;

  int64_t layers_;
  Tally all_;
  bool same_depth_ = true;
  Tallies tokens_, words_, classes_;
  std::vector<std::pair<double, double>> pairs_;  // depth and loss of a token; the first 2^20
  std::map<int64_t, Tally> windows_;
  std::string before_;                                  // the text before the next token, 24 bytes at most
  std::string word_, word_before_;                      // of the word that has begun
  std::vector<std::pair<double, double>> word_tokens_;  // depth and loss
};

}  // namespace isobath
