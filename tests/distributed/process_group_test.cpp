// SPDX-License-Identifier: MIT
#include "culprit/distributed/process_group.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <future>
#include <memory>
#include <optional>
#include <stdexcept>
#include <string>
#include <vector>

#include "distributed/free_port.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"

namespace {

using namespace culprit;
using distributed::Bytes;
using distributed::ProcessGroup;
using distributed::World;

World world_of(int rank, int size, std::uint16_t port) {
  return {.rank = rank, .size = size, .address = "127.0.0.1", .port = port, .run = ""};
}

/// Calls `member(rank)` for all ranks at the same time and gives what rank 0 returned.
template <class Member>
auto of_first(int size, const Member& member) {
  std::vector<std::future<decltype(member(0))>> members;
  for (int rank = 0; rank < size; ++rank) members.push_back(std::async(std::launch::async, member, rank));
  for (auto& each : members) each.wait();
  for (std::size_t rank = 1; rank < members.size(); ++rank) members[rank].get();
  return members.front().get();
}

Bytes part_of(int rank, std::size_t size) {
  Bytes part(size);
  auto state = static_cast<std::uint32_t>(rank + 1);
  for (std::uint8_t& byte : part)
    byte = static_cast<std::uint8_t>((state = state * 1664525U + 1013904223U) >> 24U);
  return part;
}

constexpr std::chrono::minutes patience{1};

}  // namespace

TEST_CASE("parts of any length come in the order of the ranks", "[distributed]") {
  constexpr std::size_t chunk = std::size_t{4} << 20U;
  const std::vector<std::size_t> sizes{3, 0, 1, chunk - 1, chunk, chunk + 1, 3 * chunk + 17};
  const std::uint16_t port = test::free_port();
  const auto size = static_cast<int>(sizes.size());
  const auto both = of_first(size, [&](int rank) {
    ProcessGroup group(world_of(rank, size, port), patience);
    std::vector<std::vector<Bytes>> gathered;
    gathered.push_back(group.gather(part_of(rank, sizes[static_cast<std::size_t>(rank)])));
    gathered.push_back(group.gather(part_of(rank + 50, 2)));
    if (rank != 0 && !(gathered[0].empty() && gathered[1].empty())) throw std::logic_error("parts elsewhere");
    return gathered;
  });
  REQUIRE(both[0].size() == sizes.size());
  REQUIRE(both[1].size() == sizes.size());
  for (std::size_t rank = 0; rank < sizes.size(); ++rank) {
    CAPTURE(rank);
    CHECK((both[0][rank] == part_of(static_cast<int>(rank), sizes[rank])));
    CHECK((both[1][rank] == part_of(static_cast<int>(rank) + 50, 2)));
  }
}

TEST_CASE("a process says who is missing", "[distributed]") {
  const std::uint16_t port = test::free_port();
  const Error error =
      test::error_of([&] { ProcessGroup(world_of(0, 3, port), std::chrono::milliseconds(200)); });
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.place() == "rank 0 of 3 at 127.0.0.1:" + std::to_string(port));
  CHECK(error.expected() == "rank 1 of 3 and 1 more");
}

TEST_CASE("a process whose store is not there says where it looked", "[distributed]") {
  const std::uint16_t port = test::free_port();
  const Error error =
      test::error_of([&] { ProcessGroup(world_of(1, 2, port), std::chrono::milliseconds(200)); });
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.place() == "rank 1 of 2 at 127.0.0.1:" + std::to_string(port));
  CHECK(error.expected() == "a store of torch.distributed that answers");
}

TEST_CASE("two processes of one rank, or of other sizes, are refused", "[distributed]") {
  const std::uint16_t port = test::free_port();
  const bool twice = GENERATE(true, false);
  const std::vector<World> worlds =
      twice ? std::vector{world_of(0, 3, port), world_of(1, 3, port), world_of(1, 3, port)}
            : std::vector{world_of(0, 3, port), world_of(2, 4, port)};
  const auto error = of_first(static_cast<int>(worlds.size()), [&](int member) -> std::optional<Error> {
    try {
      const ProcessGroup group(worlds[static_cast<std::size_t>(member)], patience);
    } catch (const Error& thrown) {
      return thrown;
    }
    return std::nullopt;
  });
  REQUIRE(error.has_value());
  CHECK(error->code() == ErrorCode::argument);
  CHECK(error->expected() == "each rank of 3 once");
  CHECK(error->came() == (twice ? "rank 1 of 3" : "rank 2 of 4"));
}

TEST_CASE("a process that waits when the store goes gets an error", "[distributed]") {
  const std::uint16_t port = test::free_port();
  auto first = std::async(std::launch::async,
                          [&] { return std::make_unique<ProcessGroup>(world_of(0, 2, port), patience); });
  ProcessGroup group(world_of(1, 2, port), patience);
  first.get().reset();
  const Error error = test::error_of([&] { (void)group.gather({}); });
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.place() == "rank 1 of 2 at 127.0.0.1:" + std::to_string(port));
}

TEST_CASE("a port that another has is refused", "[distributed]") {
  const test::Listener other;
  const Error error = test::error_of([&] { ProcessGroup(world_of(0, 2, other.port()), patience); });
  CHECK(error.code() == ErrorCode::io);
  CHECK(error.place() == "rank 0 of 2 at 127.0.0.1:" + std::to_string(other.port()));
}
