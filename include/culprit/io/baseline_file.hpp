// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "culprit/core/baseline.hpp"
#include "culprit/io/hexadecimal.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"

namespace culprit::io {

/// Layers with their units, as they stand in the metadata of baseline and profile files.
[[nodiscard]] inline Json units_to_json(const Units& units) {
  Json::Array layers;
  for (const Layer& layer : units.layers()) {
    Json entry = Json::object({{"name", layer.name},
                               {"shape", Json::array({layer.shape.begin(), layer.shape.end()})},
                               {"first", layer.first},
                               {"count", layer.count},
                               {"size", layer.size}});
    if (layer.uses >= 0) entry.set("uses", layer.uses);
    if (!layer.batch_norm.empty()) entry.set("batch_norm", layer.batch_norm);
    layers.push_back(std::move(entry));
  }
  return Json::array(std::move(layers));
}

/// @throws Error (format) for another structure, Error (argument) for layers that cannot be.
[[nodiscard]] inline Units units_from_json(const Json& json) {
  std::vector<Layer> layers;
  for (const Json& entry : json.items()) {
    Layer layer;
    layer.name = entry.at("name").as_string();
    for (const Json& extent : entry.at("shape").items()) layer.shape.push_back(extent.as_int());
    layer.count = entry.at("count").as_int();
    layer.size = entry.at("size").as_int();
    if (entry.contains("uses")) layer.uses = entry.at("uses").as_int();
    if (entry.contains("batch_norm")) layer.batch_norm = entry.at("batch_norm").as_string();
    layers.push_back(std::move(layer));
  }
  return Units(std::move(layers));
}

/// A fingerprint as it stands in the metadata of baseline and profile files: hashes in hexadecimal.
[[nodiscard]] inline Json fingerprint_to_json(const Fingerprint& fingerprint) {
  Json::Object tensors;
  for (const auto& [name, hash] : fingerprint.tensors) tensors.emplace_back(name, to_hex(hash));
  return Json::object({{"tensors", Json::object(std::move(tensors))},
                       {"aggregation", fingerprint.aggregation},
                       {"loss", fingerprint.loss},
                       {"preprocessing", fingerprint.preprocessing}});
}

namespace detail {

inline constexpr std::string_view baseline_format = "culprit.baseline/1";

inline Fingerprint fingerprint_from_json(const Json& json) {
  Fingerprint fingerprint;
  for (const auto& [name, hash] : json.at("tensors").members()) {
    fingerprint.tensors.emplace_back(name, from_hex(hash.as_string()));
  }
  fingerprint.aggregation = json.at("aggregation").as_string();
  fingerprint.loss = json.at("loss").as_string();
  fingerprint.preprocessing = json.at("preprocessing").as_string();
  return fingerprint;
}

inline const std::string& metadata_at(const Safetensors& file, const std::string& key,
                                      const std::string& place) {
  const auto found = file.metadata().find(key);
  if (found == file.metadata().end()) {
    throw Error(ErrorCode::format, place, "metadata " + in_quotes(key), "none");
  }
  return found->second;
}

}  // namespace detail

/// The values of a vector, which must outlive the view.
[[nodiscard]] inline TensorView view_of(const Eigen::VectorXd& vector) {
  return view_of(std::span<const double>(vector.data(), static_cast<std::size_t>(vector.size())),
                 {vector.size()});
}

/// A tensor of float64, as a vector.
/// @param place  the file, for errors @throws Error (dtype, format), Error (numeric) for NaN or infinity
[[nodiscard]] inline Eigen::VectorXd read_vector(const Safetensors& file, const std::string& name,
                                                 const std::string& place) {
  const std::vector<double> values = file.read<double>(name);
  for (const double value : values) {
    if (!std::isfinite(value))
      throw Error(ErrorCode::numeric, std::string(place).append(", tensor ").append(name), "finite values",
                  "NaN or infinity");
  }
  return Eigen::Map<const Eigen::VectorXd>(values.data(), static_cast<Index>(values.size()));
}

/// Quantiles as tensors of a file.
class QuantileLists {
 public:
  /// Copies what the quantiles have.
  explicit QuantileLists(const Quantiles& quantiles) {
    for (const Quantiles::Buckets& buckets : quantiles.buckets()) {
      for (const Quantiles::Bucket& bucket : buckets) {
        keys_.push_back(bucket.key);
        counts_.push_back(bucket.count);
      }
      ends_.push_back(static_cast<std::int64_t>(keys_.size()));
    }
  }

  /// Views of these lists: `quantile_keys` and `quantile_counts` I64 [buckets], unit by unit, and
  /// `quantile_ends` I64 [units], where each unit's buckets end.
  void append_to(std::vector<std::pair<std::string, TensorView>>& tensors) const {
    for (const auto& [name, list] :
         {std::pair("quantile_keys", &keys_), std::pair("quantile_counts", &counts_),
          std::pair("quantile_ends", &ends_)}) {
      tensors.emplace_back(
          name, view_of(std::span<const std::int64_t>(*list), {static_cast<std::int64_t>(list->size())}));
    }
  }

 private:
  std::vector<std::int64_t> keys_, counts_, ends_;
};

/// What QuantileLists gave a file; nothing where it has none.
/// @param place  the file, for errors @throws Error (shape, format, dtype)
[[nodiscard]] inline std::optional<Quantiles> read_quantiles(const Safetensors& file,
                                                             const std::string& place) {
  if (!file.contains("quantile_ends")) return std::nullopt;
  const auto keys = file.read<std::int64_t>("quantile_keys");
  const auto counts = file.read<std::int64_t>("quantile_counts");
  const auto ends = file.read<std::int64_t>("quantile_ends");
  if (keys.size() != counts.size()) {
    throw Error(ErrorCode::shape, place + ", tensor quantile_counts",
                std::to_string(keys.size()) + " values, as quantile_keys", std::to_string(counts.size()));
  }
  std::vector<Quantiles::Buckets> units(ends.size());
  std::int64_t begin = 0;
  for (std::size_t unit = 0; unit < units.size(); ++unit) {
    if (ends[unit] < begin || ends[unit] > static_cast<std::int64_t>(keys.size())) {
      throw Error(ErrorCode::format, place + ", tensor quantile_ends",
                  "ascending from 0 to " + std::to_string(keys.size()), std::to_string(ends[unit]));
    }
    for (; begin < ends[unit]; ++begin) {
      const auto i = static_cast<std::size_t>(begin);
      units[unit].push_back({keys[i], counts[i]});
    }
  }
  return Quantiles(std::move(units));
}

/// Writes a baseline as safetensors: `mean` and `std` F64 [units], `count` I64 [1]; where it has quantiles,
/// those of QuantileLists; as metadata the units by layer, the dead units, the fingerprint,
/// the number of skipped samples if there are any, and `extra`.
/// @param more  tensors of other names, which load_baseline does not look at
/// @throws Error (io) when the file cannot be written.
inline void save_baseline(const std::filesystem::path& path, const Baseline& baseline,
                          std::map<std::string, std::string> extra = {},
                          std::span<const std::pair<std::string, TensorView>> more = {}) {
  const Eigen::VectorXd& mean = baseline.mean();
  const Eigen::VectorXd& stddev = baseline.stddev();
  const std::int64_t count = baseline.count();
  std::vector<std::pair<std::string, TensorView>> tensors{
      {"mean", view_of(mean)},
      {"std", view_of(stddev)},
      {"count", view_of(std::span<const std::int64_t>(&count, 1), {1})},
  };
  std::optional<QuantileLists> lists;
  if (baseline.quantiles()) {
    lists.emplace(*baseline.quantiles());
    lists->append_to(tensors);
  }
  tensors.insert(tensors.end(), more.begin(), more.end());
  const std::vector<Index> dead = baseline.dead();
  extra["format"] = detail::baseline_format;
  extra["units"] = dump(units_to_json(baseline.units()));
  if (baseline.skipped() > 0) extra["skipped"] = std::to_string(baseline.skipped());
  extra["dead_units"] = dump(Json::array({dead.begin(), dead.end()}));
  extra["fingerprint"] = dump(fingerprint_to_json(baseline.fingerprint()));
  write_safetensors(path, tensors, extra);
}

namespace detail {

inline Baseline read_baseline(const Safetensors& file, const std::string& place) {
  const std::string& format = metadata_at(file, "format", place);
  if (format != baseline_format) {
    throw Error(ErrorCode::format, place, "format " + std::string(baseline_format), format);
  }
  const auto parse = [&](const std::string& key) {
    return parse_json(metadata_at(file, key, place), place + ", metadata " + key);
  };
  auto units = std::make_shared<const Units>(units_from_json(parse("units")));
  const std::vector<std::int64_t> count = file.read<std::int64_t>("count");
  if (count.size() != 1) {
    throw Error(ErrorCode::shape, place + ", tensor count", "1 value", std::to_string(count.size()));
  }
  const Index skipped = file.metadata().contains("skipped") ? parse("skipped").as_int() : 0;
  return Baseline(std::move(units),
                  Moments(count.front(), read_vector(file, "mean", place), read_vector(file, "std", place)),
                  fingerprint_from_json(parse("fingerprint")), read_quantiles(file, place), skipped);
}

}  // namespace detail

/// Reads what save_baseline wrote.
/// @throws Error (io, format, dtype, shape, numeric or argument) naming the file and what is wrong in it.
[[nodiscard]] inline Baseline load_baseline(const std::filesystem::path& path) {
  const Safetensors file = Safetensors::open(path);
  const std::string place = path.string();
  try {
    return detail::read_baseline(file, place);
  } catch (const Error& error) {
    if (error.place().starts_with(place)) throw;
    throw Error(error.code(), place + ", " + error.place(), error.expected(), error.came());
  }
}

}  // namespace culprit::io
