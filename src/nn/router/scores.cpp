#include "nn/router/scores.h"

#include "core/error.h"

namespace isobath {

RouterScore router_score(std::string const& name) {
  static constexpr std::pair<char const*, RouterScore> scores[] = {
      {"linear", linear_score},     {"mlp", mlp_score},     {"cosine", cosine_score}, {"random", random_score},
      {"position", position_score}, {"token", token_score}, {"norm", norm_score},
  };
  for (auto const& [known, score] : scores)
    if (name == known) return score;
  throw Error(ExitCode::other, "router '" + name + "' is declared, but has no score");
}

}  // namespace isobath
