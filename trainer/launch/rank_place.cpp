#include "trainer/launch/rank_place.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "core/error.h"
#include "core/random.h"

namespace isobath {
namespace {

struct Launcher {
  char const *name, *rank, *size, *local_rank;
};

// The first row whose rank and size are set counts. Launchers start others, so that the variables of several may be there: mpirun's
// processes have those of the srun that started mpirun's daemons, and srun can set MPI's own variables for its tasks.
constexpr std::array launchers{
    Launcher{"torchrun", "RANK", "WORLD_SIZE", "LOCAL_RANK"},
    Launcher{"mpirun", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
    Launcher{"mpirun", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"},
    Launcher{"srun", "SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
};

constexpr int first_port = 20000, port_count = 10000;  // below those that systems hand out to clients

std::string text_of(Environment const& environment, char const* name) {
  char const* value = environment(name);
  return value ? value : "";
}

int64_t number_of(Environment const& environment, char const* name) {
  std::string const text = text_of(environment, name);
  int64_t value = -1;
  auto const [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || value < 0)
    throw Error(ExitCode::config, std::string("the environment variable ") + name + " is '" + text + "', not a number from 0 on");
  return value;
}

// A port that all ranks of a job derive from its number, so that two jobs on one host hardly ever meet.
int port_of_job(std::string const& job) { return first_port + static_cast<int>(hash_text(job.c_str()) % port_count); }

// Where the ranks meet when the launcher, unlike torchrun, does not say so.
void find_address(Environment const& environment, RankPlace& place) {
  if (place.launcher == "srun") {
    std::string const nodes = text_of(environment, "SLURM_STEP_NODELIST");
    place.address = first_host(nodes.empty() ? text_of(environment, "SLURM_JOB_NODELIST") : nodes);
    place.port = port_of_job(text_of(environment, "SLURM_JOB_ID") + "." + text_of(environment, "SLURM_STEP_ID"));
  } else {
    bool const one_host = text_of(environment, "OMPI_COMM_WORLD_LOCAL_SIZE") == std::to_string(place.size) ||
                          text_of(environment, "MPI_LOCALNRANKS") == std::to_string(place.size);
    if (one_host) place.address = "127.0.0.1";
    place.port = port_of_job(text_of(environment, "PMIX_NAMESPACE") + text_of(environment, "HYDI_CONTROL_FD"));
  }
  if (place.address.empty())
    throw Error(ExitCode::config, "started by " + place.launcher +
                                      " on several hosts, which does not say where rank 0 is: set MASTER_ADDR to "
                                      "its host name for all ranks, for example mpirun -x MASTER_ADDR=$(hostname) on the first host");
}

}  // namespace

std::string first_host(std::string const& list) {
  size_t const bracket = list.find('['), comma = list.find(',');
  if (bracket == std::string::npos || comma < bracket) return list.substr(0, comma);
  size_t const end = list.find_first_of(",-]", bracket + 1);
  size_t const close = list.find(']', bracket);
  if (end == std::string::npos || close == std::string::npos) return "";
  size_t const after = list.find(',', close);
  return list.substr(0, bracket) + list.substr(bracket + 1, end - bracket - 1) + list.substr(close + 1, after - close - 1);
}

RankPlace find_rank_place(Environment const& environment) {
  RankPlace place;
  auto const is_set = [&](char const* name) { return environment(name) != nullptr; };
  if (is_set("RANK") != is_set("WORLD_SIZE"))
    throw Error(ExitCode::config, std::string("of the environment variables RANK and WORLD_SIZE only ") +
                                      (is_set("RANK") ? "RANK" : "WORLD_SIZE") +
                                      " is set: set both to train with other processes, or none");
  auto const launcher =
      std::find_if(launchers.begin(), launchers.end(), [&](Launcher const& each) { return is_set(each.rank) && is_set(each.size); });
  if (launcher == launchers.end()) return place;
  place.rank = number_of(environment, launcher->rank);
  place.size = number_of(environment, launcher->size);
  if (place.rank >= place.size)
    throw Error(ExitCode::config, std::string("the environment says rank ") + std::to_string(place.rank) + " of " +
                                      std::to_string(place.size) + " (" + launcher->rank + ", " + launcher->size +
                                      "): ranks go from 0 to one less than their number");
  if (place.size == 1) return {};
  place.launcher = launcher->name;
  if (is_set(launcher->local_rank)) place.local_rank = number_of(environment, launcher->local_rank);
  place.store_is_running = text_of(environment, "TORCHELASTIC_USE_AGENT_STORE") == "True";
  if (is_set("MASTER_ADDR")) {
    place.address = text_of(environment, "MASTER_ADDR");
    place.port = 29500;
  } else if (place.launcher == "torchrun") {
    throw Error(ExitCode::config, "RANK and WORLD_SIZE are set, MASTER_ADDR is not: it names the host of rank 0");
  } else {
    find_address(environment, place);
  }
  if (is_set("MASTER_PORT")) place.port = static_cast<int>(number_of(environment, "MASTER_PORT"));
  if (place.port < 1 || place.port > 65535)
    throw Error(ExitCode::config, "the environment variable MASTER_PORT is " + std::to_string(place.port) + ", not a port from 1 to 65535");
  return place;
}

RankPlace find_rank_place() {
  return find_rank_place([](char const* name) -> char const* { return std::getenv(name); });
}

}  // namespace isobath
