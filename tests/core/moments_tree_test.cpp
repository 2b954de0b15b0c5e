// SPDX-License-Identifier: MIT
#include "culprit/core/moments_tree.hpp"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "culprit/core/baseline.hpp"
#include "culprit/io/moments_tensors.hpp"
#include "io/error_of.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace {

using culprit::ErrorCode;
using culprit::Index;
using culprit::Moments;
using culprit::MomentsTree;
using culprit::RowMatrix;
using culprit::test::error_of;
namespace io = culprit::io;

constexpr Index units = 3;

/// Batches of profiles: positive, over many orders of magnitude; the fourth without a sample.
std::vector<Moments> batches_of(int count) {
  std::mt19937 random(7);
  std::normal_distribution<double> noise;
  std::vector<Moments> batches;
  for (int batch = 0; batch < count; ++batch) {
    RowMatrix rows(batch == 3 ? 0 : 1 + batch % 5, units);
    for (Index i = 0; i < rows.size(); ++i) rows.data()[i] = std::exp(-20.0 + 3.0 * noise(random));
    batches.push_back(Moments::of_samples(rows));
  }
  return batches;
}

void check_same_bits(const Moments& a, const Moments& b) {
  CHECK(a.count() == b.count());
  CHECK(a.mean() == b.mean());
  CHECK(a.squares() == b.squares());
}

}  // namespace

TEST_CASE("A tree of moments has the same bits for any partition of the batches in any order", "[core]") {
  std::mt19937 random(11);
  for (const int count : {1, 2, 3, 7, 8, 100, 157}) {
    INFO(count);
    const std::vector<Moments> batches = batches_of(count);
    MomentsTree whole(units);
    for (int batch = 0; batch < count; ++batch) whole.add(batch, batches[static_cast<std::size_t>(batch)]);
    const auto bits = static_cast<std::size_t>(std::popcount(static_cast<unsigned>(count)));
    REQUIRE(whole.nodes().size() == bits);
    Moments sequential(units);
    for (const Moments& batch : batches) sequential.merge(batch);
    CHECK(whole.total().count() == sequential.count());
    CHECK(((whole.total().mean() - sequential.mean()).array() / sequential.mean().array()).abs().maxCoeff() <=
          1e-13);

    for (int trial = 0; trial < 30; ++trial) {
      std::vector<MomentsTree> parts(1 + random() % 9, MomentsTree(units));
      std::vector<Index> order(static_cast<std::size_t>(count));
      std::iota(order.begin(), order.end(), Index{0});
      std::ranges::shuffle(order, random);
      for (const Index batch : order)
        parts[random() % parts.size()].add(batch, batches[static_cast<std::size_t>(batch)]);
      std::ranges::shuffle(parts, random);
      MomentsTree all(units);
      for (MomentsTree& part : parts) all.merge(std::move(part));
      REQUIRE(all.nodes().size() == bits);
      CHECK(all.count() == whole.count());
      check_same_bits(all.total(), whole.total());
    }
  }
}

TEST_CASE("A tree of moments comes back from a file bit for bit, and goes on", "[core]") {
  const std::vector<Moments> batches = batches_of(21);
  MomentsTree whole(units), begun(units);
  for (std::size_t batch = 0; batch < batches.size(); ++batch)
    whole.add(static_cast<Index>(batch), batches[batch]);
  for (const std::size_t batch : {20U, 0U, 1U, 2U, 3U, 9U, 10U})
    begun.add(static_cast<Index>(batch), batches[batch]);

  const culprit::test::TemporaryFolder folder;
  const auto path = folder.path() / "tree.safetensors";
  const io::MomentsTensors lists(begun);
  std::vector<std::pair<std::string, io::TensorView>> tensors;
  lists.append_to(tensors);
  io::write_safetensors(path, tensors, {});
  MomentsTree restored = io::read_moments(io::Safetensors::open(path), units, path.string());
  REQUIRE(restored.nodes().size() == begun.nodes().size());
  check_same_bits(restored.total(), begun.total());
  for (Index batch = 0; batch < 21; ++batch) {
    if (batch <= 3 || batch == 9 || batch == 10 || batch == 20) continue;
    restored.add(batch, batches[static_cast<std::size_t>(batch)]);
  }
  check_same_bits(restored.total(), whole.total());
  CHECK(error_of([&] { (void)io::read_moments(io::Safetensors::open(path), units + 1, "f"); }).code() ==
        ErrorCode::shape);
}

TEST_CASE("A tree of moments refuses a batch twice, and batches that cannot be a node", "[core]") {
  MomentsTree tree(units);
  tree.add(4, Moments(units));
  tree.add(5, Moments(units));
  const auto refusal = [&](Index first, Index batches) {
    return error_of([&] { tree.add({first, batches, Moments(units)}); });
  };
  CHECK(refusal(4, 1).code() == ErrorCode::argument);
  CHECK(refusal(5, 1).code() == ErrorCode::argument);
  CHECK(refusal(0, 8).code() == ErrorCode::argument);
  for (const auto& [first, batches] : {std::pair<Index, Index>{-1, 1},
                                       {0, 0},
                                       {0, -2},
                                       {0, 3},
                                       {1, 2},
                                       {0, std::numeric_limits<Index>::min()},
                                       {std::numeric_limits<Index>::max(), 1}}) {
    INFO(first << ' ' << batches);
    CHECK(refusal(first, batches).code() == ErrorCode::format);
  }
  CHECK(error_of([&] { tree.add(6, Moments(units + 1)); }).code() == ErrorCode::shape);
  REQUIRE(tree.nodes().size() == 1);
  CHECK(tree.nodes().front().end() == 6);
}
