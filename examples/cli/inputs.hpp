// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <iterator>
#include <memory>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "cli/options.hpp"
#include "data/dataset.hpp"
#include "data/preprocess.hpp"

namespace culprit::cli {

/// The samples of a run.
struct Inputs {
  std::unique_ptr<const data::Dataset> set;
  std::vector<std::size_t> indices;  ///< of the samples to use, ascending: the run's shard of the chosen ones
  std::vector<std::size_t> chosen;   ///< what --limit and --seed leave of all samples
  std::size_t first = 0;             ///< where the shard begins in these
  data::Preprocess preprocess;
  data::Classes names;
};

namespace detail {

inline constexpr std::array<std::string_view, 10> fashion_names{
    "t-shirt/top", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot"};
inline constexpr std::array<std::string_view, 10> cifar10_names{
    "airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"};

inline data::Classes named(std::span<const std::string_view> names) {
  data::Classes classes;
  for (std::size_t i = 0; i < names.size(); ++i) {
    classes.add(static_cast<std::int64_t>(i), std::string(names[i]), std::string(names[i]));
  }
  return classes;
}

/// Names from --classes or the folders, else those that go with the preset.
inline data::Classes class_names(const Options& options, const data::Dataset& set) {
  if (!options.classes.empty() || options.data.starts_with("folder:")) return set.classes();
  if (options.preset == "fashion") return named(fashion_names);
  if (options.preset == "cifar10" || options.data.starts_with("cifar10:")) return named(cifar10_names);
  return {};
}

/// The first `limit` of `size` indices or, with a seed, as many drawn at random (Knuth's algorithm S, which
/// keeps the order), by arithmetic that is the same with every standard library.
inline std::vector<std::size_t> chosen(std::size_t size, const Options& options) {
  const std::size_t limit = options.limit == 0 ? size : std::min(options.limit, size);
  std::vector<std::size_t> indices;
  if (!options.seed) {
    indices.resize(limit);
    std::iota(indices.begin(), indices.end(), std::size_t{0});
    return indices;
  }
  std::mt19937_64 random(*options.seed);
  for (std::size_t i = 0; i < size && indices.size() < limit; ++i) {
    if (random() % (size - i) < limit - indices.size()) indices.push_back(i);
  }
  return indices;
}

}  // namespace detail

/// Opens what --data or --image names.
/// @throws Error naming the option, file, line or byte that is wrong
[[nodiscard]] inline Inputs open_inputs(const Options& options) {
  Inputs inputs;
  inputs.preprocess = options.preset.empty()
                          ? data::Preprocess{options.resize, options.crop, options.mean, options.std}
                          : data::Preprocess::preset(options.preset);
  inputs.preprocess.check();
  std::optional<std::filesystem::path> classes;
  if (!options.classes.empty()) classes = options.classes;
  if (options.image.empty()) {
    inputs.set = data::open_dataset(options.data, classes);
  } else {
    inputs.set =
        std::make_unique<data::FileDataset>("", std::vector<data::Item>{{options.image, options.label}},
                                            classes ? data::Classes::read(*classes) : data::Classes());
  }
  if (inputs.set->size() == 0) {
    throw Error(ErrorCode::argument, options.data, "a data set with at least one sample", "none");
  }
  inputs.names = detail::class_names(options, *inputs.set);
  inputs.chosen = detail::chosen(inputs.set->size(), options);
  // Whole batches, so that each sample is in the batch that it would be in without shards.
  const std::size_t size = inputs.chosen.size(), batches = (size + options.batch - 1) / options.batch;
  const std::size_t shards = std::max<std::size_t>(1, options.shards);
  const auto begin_of = [&](std::size_t shard) {
    return static_cast<std::ptrdiff_t>(std::min(size, batches * shard / shards * options.batch));
  };
  const std::ptrdiff_t first = begin_of(options.shard);
  inputs.first = static_cast<std::size_t>(first);
  inputs.indices.assign(inputs.chosen.begin() + first, inputs.chosen.begin() + begin_of(options.shard + 1));
  return inputs;
}

}  // namespace culprit::cli
