#include "trainer/launch/rank_place.h"

#include <catch2/catch_message.hpp>
#include <catch2/catch_test_macros.hpp>
#include <map>

#include "core/error.h"
#include "trainer/launch/start_ranks.h"

using namespace isobath;

namespace {

RankPlace place_in(std::map<std::string, std::string> const& variables) {
  return find_rank_place([&](char const* name) -> char const* {
    auto const found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

std::string refusal(std::map<std::string, std::string> const& variables) {
  try {
    place_in(variables);
  } catch (Error const& error) {
    CHECK(error.code() == ExitCode::config);
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("rank place: one process alone, with and without a launcher's variables") {
  CHECK(place_in({}).alone());
  CHECK(place_in({{"RANK", "0"}, {"WORLD_SIZE", "1"}}).alone());
  // The script of sbatch and the shell of salloc see SLURM's variables, too, but srun has not started them.
  CHECK(place_in({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "8"}, {"SLURM_JOB_NODELIST", "n[1-2]"}}).alone());
}

TEST_CASE("rank place: torchrun") {
  RankPlace const place = place_in({{"RANK", "5"},
                                    {"WORLD_SIZE", "8"},
                                    {"LOCAL_RANK", "1"},
                                    {"MASTER_ADDR", "gpu7"},
                                    {"MASTER_PORT", "1234"},
                                    {"TORCHELASTIC_USE_AGENT_STORE", "True"}});
  CHECK(place.launcher == "torchrun");
  CHECK(place.rank == 5);
  CHECK(place.size == 8);
  CHECK(place.local_rank == 1);
  CHECK(place.address == "gpu7");
  CHECK(place.port == 1234);
  CHECK(place.store_is_running);
}

TEST_CASE("rank place: srun, whose tasks derive where they meet") {
  std::map<std::string, std::string> task{{"SLURM_PROCID", "3"},    {"SLURM_STEP_NUM_TASKS", "4"}, {"SLURM_LOCALID", "1"},
                                          {"SLURM_JOB_ID", "4711"}, {"SLURM_STEP_ID", "0"},        {"SLURM_STEP_NODELIST", "gpu[07-08]"}};
  RankPlace const place = place_in(task);
  CHECK(place.launcher == "srun");
  CHECK(place.rank == 3);
  CHECK(place.size == 4);
  CHECK(place.local_rank == 1);
  CHECK(place.address == "gpu07");
  CHECK(place.port >= 20000);
  CHECK(place.port < 30000);
  task["SLURM_PROCID"] = "0";
  CHECK(place_in(task).port == place.port);
  task["SLURM_STEP_ID"] = "1";
  CHECK(place_in(task).port != place.port);
  task["MASTER_ADDR"] = "other";
  task["MASTER_PORT"] = "99";
  CHECK(place_in(task).address == "other");
  CHECK(place_in(task).port == 99);
}

TEST_CASE("rank place: mpirun, also inside a SLURM job whose variables its processes inherit") {
  std::map<std::string, std::string> process{
      {"OMPI_COMM_WORLD_RANK", "1"},       {"OMPI_COMM_WORLD_SIZE", "2"}, {"OMPI_COMM_WORLD_LOCAL_RANK", "1"},
      {"OMPI_COMM_WORLD_LOCAL_SIZE", "2"}, {"SLURM_PROCID", "0"},         {"SLURM_STEP_NUM_TASKS", "1"}};
  RankPlace const place = place_in(process);
  CHECK(place.launcher == "mpirun");
  CHECK(place.rank == 1);
  CHECK(place.address == "127.0.0.1");
  process["OMPI_COMM_WORLD_LOCAL_SIZE"] = "1";
  CHECK(refusal(process).find("set MASTER_ADDR") != std::string::npos);
  process["MASTER_ADDR"] = "n1";
  CHECK(place_in(process).address == "n1");
  CHECK(place_in({{"PMI_RANK", "2"}, {"PMI_SIZE", "3"}, {"MPI_LOCALNRANKS", "3"}}).rank == 2);
}

TEST_CASE("rank place: contradictions are refused") {
  CHECK(refusal({{"RANK", "0"}}).find("only RANK is set") != std::string::npos);
  CHECK(refusal({{"WORLD_SIZE", "2"}}).find("only WORLD_SIZE is set") != std::string::npos);
  CHECK(refusal({{"RANK", "2"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "x"}}).find("rank 2 of 2") != std::string::npos);
  CHECK(refusal({{"RANK", "one"}, {"WORLD_SIZE", "2"}}).find("RANK is 'one'") != std::string::npos);
  CHECK(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}}).find("MASTER_ADDR is not") != std::string::npos);
  CHECK(refusal({{"RANK", "0"}, {"WORLD_SIZE", "2"}, {"MASTER_ADDR", "x"}, {"MASTER_PORT", "70000"}}).find("70000") != std::string::npos);
}

TEST_CASE("rank place: the first host of a SLURM list") {
  CHECK(first_host("gpu7") == "gpu7");
  CHECK(first_host("gpu7,gpu9") == "gpu7");
  CHECK(first_host("gpu[07-09,12],login") == "gpu07");
  CHECK(first_host("rack[2,4]-node,x") == "rack2-node");
  CHECK(first_host("login,gpu[1-2]") == "login");
  CHECK(first_host("gpu[3]") == "gpu3");
  CHECK(first_host("").empty());
}

TEST_CASE("start ranks: the exit code says what happened") {
  CHECK(common_exit_code({0, 0}) == 0);
  CHECK(common_exit_code({143, 143}) == 143);
  CHECK(common_exit_code({8, 137, 8}) == 8);
  CHECK(common_exit_code({8, 5, 8}) == 5);
  CHECK(common_exit_code({2, 2}) == 2);
  CHECK(common_exit_code({143, 8}) == 8);
  CHECK(common_exit_code({130, 0}) == 130);
}
