// SPDX-License-Identifier: MIT
// Time of the ten nearest neighbours, by cosine, of each of 10,000 profiles of 2,032 units among all,
// and of the same search where the queries are another table, so that no product is of use twice.
// benchmarks/peers/neighbors.sh runs it beside FAISS.
#include "culprit/neighbors.hpp"

#include <memory>
#include <span>
#include <vector>

#include <benchmark/benchmark.h>
#include <torch/torch.h>

namespace {

namespace cu = culprit;

constexpr cu::Index stored = 10'000;
constexpr cu::Index units = 2'032;

void neighbors(benchmark::State& state, bool among_themselves) {
  torch::manual_seed(1);
  const torch::Tensor table = torch::randn({stored, units});
  const torch::Tensor copy = table.clone();
  cu::Layer layer;
  layer.name = "all";
  layer.count = units;
  layer.size = 1;
  const auto all = std::make_shared<const cu::Units>(std::vector{layer});
  const auto rows_of = [&](const torch::Tensor& tensor) {
    cu::ProfileRows rows(all);
    rows.append(
        std::span<const float>(tensor.const_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())));
    return rows;
  };
  const cu::ProfileRows rows = rows_of(table);
  const cu::ProfileRows queries = among_themselves ? rows : rows_of(copy);
  for ([[maybe_unused]] const auto turn : state) {
    benchmark::DoNotOptimize(cu::Neighbors{}(queries, rows, {.k = 10}).data());
  }
  state.SetItemsProcessed(state.iterations() * stored);
}

BENCHMARK_CAPTURE(neighbors, among_themselves, true)->UseRealTime()->Unit(benchmark::kMillisecond);
BENCHMARK_CAPTURE(neighbors, of_others, false)->UseRealTime()->Unit(benchmark::kMillisecond);

}  // namespace
