#pragma once
// Where this process stands among those that train one run together (its ranks), by the environment that their launcher sets.

#include <cstdint>
#include <functional>
#include <string>

namespace isobath {

struct RankPlace {
  int64_t rank = 0, size = 1;
  int64_t local_rank = -1;  // among those of this host; -1: the launcher does not say
  std::string launcher;     // "torchrun", "mpirun", "srun"; empty: one process alone
  std::string address;      // host and port of the store in which the ranks find each other
  int port = 0;
  bool store_is_running = false;  // torchrun's own process serves the store; otherwise rank 0 does
  bool alone() const { return size == 1; }
};

using Environment = std::function<char const*(char const* name)>;  // nullptr: not set

// Throws Error(config) when the environment is contradictory or does not say where the ranks find each other.
RankPlace find_rank_place(Environment const& environment);
RankPlace find_rank_place();  // of this process

// The first host of a SLURM host list: "gpu[07-09,12],login" gives "gpu07".
std::string first_host(std::string const& list);

}  // namespace isobath
