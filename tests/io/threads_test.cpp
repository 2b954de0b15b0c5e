// SPDX-License-Identifier: MIT
//
// What several threads may do at the same time. The thread sanitizer (preset tsan) sees whether it is safe;
// here the results must be those of one thread.
#include <array>
#include <cstdint>
#include <filesystem>
#include <latch>
#include <memory>
#include <optional>
#include <ostream>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <culprit/core/baseline.hpp>
#include <culprit/core/profile.hpp>
#include <culprit/engine/instructions.hpp>
#include <culprit/io/atomic_file.hpp>
#include <culprit/io/baseline_file.hpp>
#include <culprit/io/checkpoint.hpp>
#include <culprit/io/profile_store.hpp>
#include <culprit/io/safetensors.hpp>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

using namespace culprit;
using culprit::io::view_of;
using culprit::test::read_bytes;
using culprit::test::TemporaryFolder;

namespace {

constexpr std::size_t threads = 4;
constexpr Index samples = 24;
constexpr Index units_count = 6;

/// Calls `each(number)` on a thread for each number, all at the same time; Catch2's checks are no part of it,
/// for they are not made for threads. @returns what the calls returned
template <class Each>
auto at_once(const Each& each) {
  std::vector<decltype(each(std::size_t{}))> results(threads);
  std::latch all_there(threads);
  std::vector<std::jthread> running;
  for (std::size_t number = 0; number < threads; ++number) {
    running.emplace_back([&, number] {
      all_there.arrive_and_wait();
      results[number] = each(number);
    });
  }
  running.clear();
  return results;
}

std::shared_ptr<const Units> two_layers() {
  std::vector<Layer> layers(2);
  layers[0].name = "a";
  layers[1].name = "b";
  layers[0].count = 2;
  layers[1].count = units_count - 2;
  for (Layer& layer : layers) layer.size = 9;
  return std::make_shared<const Units>(std::move(layers));
}

RowMatrix some_samples() {
  std::mt19937 engine(culprit::test::seed());
  std::normal_distribution<double> noise(3.0);
  RowMatrix values(samples, units_count);
  for (Index i = 0; i < values.size(); ++i) values.data()[i] = noise(engine);
  return values;
}

Baseline fitted(const Eigen::Ref<const RowMatrix>& rows) {
  Moments moments(units_count);
  moments.add(rows);
  Quantiles quantiles(units_count);
  quantiles.add(rows);
  return {two_layers(), std::move(moments), {}, std::move(quantiles)};
}

/// The units of a sample in the order of their blame, by mean and deviation, or by median and MAD.
std::vector<Index> blamed(const Baseline& baseline, const Eigen::Ref<const Eigen::RowVectorXd>& sample,
                          bool robust) {
  Eigen::VectorXd z(units_count);
  for (Index unit = 0; unit < units_count; ++unit) {
    const UnitStatistics usual = baseline.statistics(unit);
    z[unit] = robust ? (sample[unit] - usual.median) / usual.mad : (sample[unit] - usual.mean) / usual.stddev;
  }
  std::vector<Index> order;
  for (const RankedUnit& each : Profile(baseline.shared_units(), std::move(z)).top(units_count))
    order.push_back(each.unit);
  return order;
}

void write_store(const std::filesystem::path& path, const RowMatrix& values) {
  const std::vector<std::int64_t> labels(samples, 1);
  const std::vector<float> logits(2 * samples, 0.5F);
  const std::vector<std::string> paths(samples, "x.png");
  const std::vector<std::pair<std::string, io::TensorView>> tensors{
      {"z", view_of(std::span<const double>(values.data(), static_cast<std::size_t>(values.size())),
                    {samples, units_count})},
      {"label", view_of<std::int64_t>(labels, {samples})},
      {"prediction", view_of<std::int64_t>(labels, {samples})},
      {"logits", view_of<float>(logits, {samples, 2})}};
  io::write_safetensors(path, tensors,
                        {{"units", dump(io::units_to_json(*two_layers()))},
                         {"fingerprint", dump(io::fingerprint_to_json({}))},
                         {"standardization", "z_score"},
                         {"paths", dump(io::Json::array({paths.begin(), paths.end()}))}});
}

}  // namespace

TEST_CASE("Threads may read one mapped file, store and baseline at the same time", "[io]") {
  const TemporaryFolder folder;
  const RowMatrix values = some_samples();
  write_store(folder / "p.safetensors", values);
  io::save_baseline(folder / "b.safetensors", fitted(values));
  const auto file = io::Safetensors::open(folder / "p.safetensors");
  const auto store = io::ProfileStore::open(std::array{folder / "p.safetensors"});
  const Baseline baseline = io::load_baseline(folder / "b.safetensors");

  const auto sum = [&] {
    double total = 0.0;
    for (const double value : file.values<double>("z")) total += value;
    for (Index row = 0; row < store.size(); ++row) {
      total += store.rows().values(row, std::array{UnitRange{0, units_count}}).sum() + store.confidence(row);
    }
    for (Index unit = 0; unit < units_count; ++unit) total += baseline.statistics(unit).mad;
    // The same file, opened again while others read it.
    return total + io::load_baseline(folder / "b.safetensors").stddev().sum();
  };
  const double expected = sum();
  for (const double total : at_once([&](std::size_t) { return sum(); })) CHECK(total == expected);
}

TEST_CASE("Threads may standardize and rank with one baseline at the same time", "[core]") {
  const RowMatrix values = some_samples();
  const Baseline baseline = fitted(values);
  const auto all = [&](std::size_t) {
    std::vector<std::vector<Index>> orders;
    for (Index row = 0; row < samples; ++row) {
      orders.push_back(blamed(baseline, values.row(row), false));
      orders.push_back(blamed(baseline, values.row(row), true));
    }
    return orders;
  };
  const auto expected = all(0);
  for (const auto& orders : at_once(all)) CHECK(orders == expected);
}

TEST_CASE("Threads may copy one profile, whose numbers they then share", "[core]") {
  const RowMatrix values = some_samples();
  const Profile profile(two_layers(), values.row(0).transpose());
  const auto copies = at_once([&](std::size_t) { return std::optional<Profile>(profile); });
  for (const auto& copy : copies) CHECK(&copy->values() == &profile.values());
}

TEST_CASE("Threads may take in parts that one of them merges", "[core]") {
  const RowMatrix values = some_samples();
  constexpr Index rows = samples / static_cast<Index>(threads);
  const auto parts = at_once([&](std::size_t part) {
    return std::optional(fitted(values.middleRows(static_cast<Index>(part) * rows, rows)));
  });
  Baseline merged = *parts[0];
  for (std::size_t part = 1; part < threads; ++part) merged.merge(*parts[part]);
  const Baseline all = fitted(values);
  CHECK(merged.count() == samples);
  CHECK((merged.stddev() - all.stddev()).cwiseAbs().maxCoeff() < 1e-14);
  for (Index unit = 0; unit < units_count; ++unit)
    CHECK(merged.statistics(unit).median == all.statistics(unit).median);
}

TEST_CASE("Threads may write files of one folder at the same time", "[io]") {
  const TemporaryFolder folder;
  const RowMatrix values = some_samples();
  const auto place = [&](std::size_t number) { return folder / std::to_string(number); };
  const auto written = at_once([&](std::size_t number) {
    const io::Job job{{"number", std::to_string(number)}};
    const std::vector<double> mean(number + 1, 0.5);
    for (int i = 0; i < 10; ++i) {
      io::save_checkpoint(place(number), job,
                          std::vector<std::pair<std::string, io::TensorView>>{
                              {"mean", view_of<double>(mean, {static_cast<Index>(mean.size())})}});
    }
    return io::load_checkpoint(place(number), job)->read<double>("mean").size();
  });
  CHECK(written == std::vector<std::size_t>{1, 2, 3, 4});
  CHECK(folder.entries() == threads);
}

TEST_CASE("Threads may ask for the first time at the same time what the processor runs", "[core]") {
  const auto sets = at_once([](std::size_t) { return engine::detail::best_instructions(); });
  CHECK(sets == std::vector(threads, engine::detail::best_instructions()));
}
