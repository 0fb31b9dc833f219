#include "trainer/cli/on_ranks.h"

#include "core/error.h"
#include "core/log.h"

namespace isobath {

int on_ranks(std::function<int(Ranks&, RankWatch&)> const& work) {
  Ranks ranks(find_rank_place());
  if (!ranks.is_first()) log_errors_only(ranks.own_name() + ": ");
  RankWatch watch(ranks);
  try {
    return work(ranks, watch);
  } catch (LostRank const&) {
    watch.find_lost_rank();
    throw;
  } catch (std::exception const& problem) {
    bool const is_said_by_first = !watch.tell_failure(problem.what());
    auto const* const known = dynamic_cast<Error const*>(&problem);
    if (is_said_by_first) throw Error(known ? known->code() : ExitCode::other, "");
    throw;
  }
}

std::vector<std::string> rank_command(Target const& target) {
  std::vector<std::string> command{"isobath", "train", target.path};
  command.insert(command.end(), target.overrides.begin(), target.overrides.end());
  return command;
}

}  // namespace isobath
