// SPDX-License-Identifier: MIT
#include "culprit/distributed/world.hpp"

#include <map>
#include <optional>
#include <string>
#include <utility>

#include "io/error_of.hpp"
#include "support/catch.hpp"

namespace {

using namespace culprit;
using distributed::World;

using Variables = std::map<std::string, std::string>;

std::optional<World> world_of(const Variables& variables) {
  return distributed::world_from([&](const char* name) -> const char* {
    const auto found = variables.find(name);
    return found == variables.end() ? nullptr : found->second.c_str();
  });
}

Variables with(Variables variables, const Variables& more) {
  for (const auto& [name, value] : more) variables[name] = value;
  return variables;
}

std::string sentence_of(const Variables& variables) {
  return test::error_of([&] { (void)world_of(variables); }).what();
}

const Variables where{{"MASTER_ADDR", "node7"}, {"MASTER_PORT", "29500"}};

}  // namespace

TEST_CASE("a launcher's variables make a world", "[distributed]") {
  const auto [rank, size] =
      GENERATE(std::pair("RANK", "WORLD_SIZE"), std::pair("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE"),
               std::pair("PMI_RANK", "PMI_SIZE"), std::pair("SLURM_PROCID", "SLURM_STEP_NUM_TASKS"));
  CAPTURE(rank);
  const auto world = world_of(with(where, {{rank, "3"}, {size, "4"}}));
  REQUIRE(world.has_value());
  CHECK(world->rank == 3);
  CHECK(world->size == 4);
  CHECK(world->address == "node7");
  CHECK(world->port == 29500);
  CHECK(world->run.empty());
  CHECK_FALSE(world->store_given);

  CHECK_FALSE(world_of({{rank, "0"}, {size, "1"}}).has_value());
  CHECK(sentence_of(with(where, {{size, "4"}})) ==
        std::string(rank) + ": expected the number of this process, for " + size + " is set, came nothing");
}

TEST_CASE("torchrun's variables come before all others", "[distributed]") {
  const Variables torchrun{{"RANK", "1"},
                           {"WORLD_SIZE", "2"},
                           {"TORCHELASTIC_RUN_ID", "fit-7"},
                           {"TORCHELASTIC_USE_AGENT_STORE", "True"}};
  const auto world = world_of(with(with(where, torchrun), {{"SLURM_PROCID", "0"},
                                                           {"SLURM_STEP_NUM_TASKS", "3"},
                                                           {"OMPI_COMM_WORLD_RANK", "2"},
                                                           {"OMPI_COMM_WORLD_SIZE", "4"}}));
  REQUIRE(world.has_value());
  CHECK(world->rank == 1);
  CHECK(world->size == 2);
  CHECK(world->run == "fit-7");
  CHECK(world->store_given);
  const auto own = world_of(with(with(where, torchrun), {{"TORCHELASTIC_USE_AGENT_STORE", "False"}}));
  REQUIRE(own.has_value());
  CHECK_FALSE(own->store_given);
}

TEST_CASE("a process that no launcher started is alone", "[distributed]") {
  CHECK_FALSE(world_of({}).has_value());
  CHECK_FALSE(world_of(where).has_value());
  // A batch script of Slurm's, which no srun has made a step of.
  CHECK_FALSE(world_of({{"SLURM_PROCID", "0"}, {"SLURM_NTASKS", "4"}}).has_value());
}

TEST_CASE("a variable that is missing or malformed is named", "[distributed]") {
  struct Case {
    Variables changes;
    std::string sentence;
  };
  const Variables right = with(where, {{"RANK", "1"}, {"WORLD_SIZE", "2"}});
  const std::string ranks = "RANK: expected an integer from 0 to 1, came ";
  const std::string sizes = "WORLD_SIZE: expected an integer from 1 to 16777216, came ";
  const std::string ports = "MASTER_PORT: expected an integer from 1 to 65535, came ";
  const auto [changes, sentence] = GENERATE_COPY(values<Case>({
      {{{"RANK", "2"}}, ranks + "\"2\""},
      {{{"RANK", "-1"}}, ranks + "\"-1\""},
      {{{"RANK", ""}}, ranks + "\"\""},
      {{{"RANK", "1\x1b"}}, ranks + "\"1\\x1b\""},
      {{{"WORLD_SIZE", "0"}}, sizes + "\"0\""},
      {{{"WORLD_SIZE", "two"}}, sizes + "\"two\""},
      {{{"WORLD_SIZE", "99999999999999999999"}}, sizes + "\"99999999999999999999\""},
      {{{"MASTER_PORT", "0"}}, ports + "\"0\""},
      {{{"MASTER_PORT", "65536"}}, ports + "\"65536\""},
      {{{"MASTER_PORT", "29500 "}}, ports + "\"29500 \""},
  }));
  CHECK(sentence_of(with(right, changes)) == sentence);

  const auto [missing, expected] = GENERATE(
      std::pair("WORLD_SIZE", "WORLD_SIZE: expected the number of processes, for RANK is set, came nothing"),
      std::pair(
          "MASTER_ADDR",
          "MASTER_ADDR: expected a host name or address of rank 0, for WORLD_SIZE is set, came nothing"),
      std::pair("MASTER_PORT",
                "MASTER_PORT: expected a free port of rank 0, for WORLD_SIZE is set, came nothing"));
  Variables fewer = right;
  fewer.erase(missing);
  CHECK(sentence_of(fewer) == expected);
}
