// SPDX-License-Identifier: MIT
// One process of a job: member FOLDER SIZE [RANK]. All bring parts of about SIZE bytes to rank 0 twice, which
// writes them to FOLDER; process RANK kills itself between the two, in the first round.
#include <chrono>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <iostream>
#include <span>
#include <stdexcept>
#include <string>

#include "culprit/distributed/process_group.hpp"
#include "culprit/distributed/world.hpp"
#include "distributed/member/parts.hpp"
#include "support/temporary_folder.hpp"

namespace {

using namespace culprit;

std::span<const std::uint8_t> bytes_of(const std::string& text) {
  return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

/// A barrier that opens only when rank 0 has written the file.
void write_at_first(distributed::ProcessGroup& group, const std::filesystem::path& path,
                    const std::string& content) {
  if (group.is_first()) test::write_bytes(path, content);
  group.barrier();
  if (!std::filesystem::exists(path)) throw std::runtime_error("a barrier opened too soon");
}

void run(const std::filesystem::path& folder, std::size_t size, int dying) {
  const int round = std::filesystem::exists(folder / "died") ? 1 : 0;
  const auto world = distributed::world_from_environment();
  if (!world) throw std::runtime_error("no world of several processes");
  distributed::ProcessGroup group(*world, std::chrono::minutes(2));
  std::string all;
  for (const int part : {round, round + 10}) {
    for (const auto& bytes : group.gather(bytes_of(test::part_of(world->rank, size, part))))
      all.append(bytes.begin(), bytes.end());
    write_at_first(group, folder / ("parts" + std::to_string(part)), all);
    if (world->rank == dying && round == 0) {
      test::write_bytes(folder / "died", "");
      std::raise(SIGKILL);
    }
  }
}

}  // namespace

int main(int argc, char* argv[]) {
  try {
    run(argv[1], std::stoull(argv[2]), argc > 3 ? std::stoi(argv[3]) : -1);
  } catch (const std::exception& error) {
    std::cerr << error.what() << '\n';
    return 1;
  }
}
