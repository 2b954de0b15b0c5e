// SPDX-License-Identifier: MIT
// Jobs of four processes, as launchers start them. What they gather is compared byte by byte with what one
// process makes of the same ranks.
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <sys/wait.h>
#include <utility>

#include "distributed/free_port.hpp"
#include "distributed/member/parts.hpp"
#include "support/catch.hpp"
#include "support/python.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace culprit;

constexpr int processes = 4;
constexpr std::size_t part_size = 9'000'000;
constexpr int skipped = 77;

/// What rank 0 writes in the end, all that it gathered in a round.
std::string gathered_in(int round) {
  std::string all;
  for (const int part : {round, round + 10}) {
    for (int rank = 0; rank < processes; ++rank) all += test::part_of(rank, part_size, part);
  }
  return all;
}

/// Runs commands of a shell. @return their exit status
int shell(const std::string& commands) {
  // The limit ends what has come to a halt: none of these takes a minute.
  std::cout << std::flush;
  const int status = std::system(("OMP_NUM_THREADS=1 timeout 300 bash -c '" + commands + "'").c_str());
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/// The program of one process. @param dying  the rank that kills itself in the first round; none if negative
std::string member(const test::TemporaryFolder& folder, int dying = -1) {
  return CULPRIT_MEMBER " " + folder.path().string() + ' ' + std::to_string(part_size) + ' ' +
         std::to_string(dying);
}

void check_gathered(const test::TemporaryFolder& folder, int round) {
  CHECK(std::filesystem::exists(folder / "died") == (round == 1));
  CHECK((test::read_bytes(folder / ("parts" + std::to_string(round + 10))) == gathered_in(round)));
}

const std::string run_torchrun = CULPRIT_PYTHON " -m torch.distributed.run --no-python --nproc-per-node 4 ";
const std::string two_machines =
    "bash " CULPRIT_SOURCE_DIR "/tests/distributed/two_machines.sh " CULPRIT_PYTHON " ";

}  // namespace

TEST_CASE("processes that mpirun, srun or Kubernetes start gather their parts", "[distributed]") {
  const auto [rank, all] =
      GENERATE(std::pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"), std::pair("PMI_RANK", "PMI_SIZE"),
               std::pair("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"), std::pair("RANK", "WORLD_SIZE"));
  CAPTURE(rank);
  const test::TemporaryFolder folder;
  REQUIRE(shell("export MASTER_ADDR=127.0.0.1 MASTER_PORT=" + std::to_string(test::free_port()) + ' ' + all +
                "=4; for rank in 3 2 1; do " + rank + "=$rank " + member(folder) +
                " & others=\"$others $!\"; done; " + rank + "=0 " + member(folder) +
                " || exit; for other in $others; do wait $other || exit; done") == 0);
  check_gathered(folder, 0);
}

TEST_CASE("torchrun's processes gather their parts", "[distributed]") {
  CULPRIT_REQUIRE_PYTHON("torch");
  const std::string where =
      GENERATE(as<std::string>{}, "--standalone --local-addr 127.0.0.1 ",
               "--rdzv-backend c10d --rdzv-endpoint 127.0.0.1:0 --local-addr 127.0.0.1 ",
               "--master-addr 127.0.0.1 --master-port PORT ");
  CAPTURE(where);
  std::string options = where;
  if (const auto found = options.find("PORT"); found != std::string::npos)
    options.replace(found, 4, std::to_string(test::free_port()));
  const test::TemporaryFolder folder;
  REQUIRE(shell(run_torchrun + options + member(folder)) == 0);
  check_gathered(folder, 0);
}

TEST_CASE("a job ends right after torchrun has restarted it", "[distributed]") {
  CULPRIT_REQUIRE_PYTHON("torch");
  const int dying = GENERATE(0, 2);
  CAPTURE(dying);
  const test::TemporaryFolder folder;
  REQUIRE(shell(run_torchrun + "--standalone --local-addr 127.0.0.1 --max-restarts 1 " +
                member(folder, dying)) == 0);
  check_gathered(folder, 1);
}

TEST_CASE("a job of two machines ends right, with a restart and without", "[distributed]") {
  CULPRIT_REQUIRE_PYTHON("torch");
  const int dying = GENERATE(-1, 1, 3);
  CAPTURE(dying);
  const test::TemporaryFolder folder;
  const int status = shell(two_machines + member(folder, dying));
  if (status == skipped) return;
  REQUIRE(status == 0);
  check_gathered(folder, dying < 0 ? 0 : 1);
}
