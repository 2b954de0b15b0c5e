// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <iterator>
#include <limits>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "culprit/core/fingerprint.hpp"
#include "culprit/core/profile_rows.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"
#include "culprit/io/store_folder.hpp"

namespace culprit::io {

/// The profiles that `culprit profile` wrote, in one file or several that continue each other: tensors
/// `profile` and, with a baseline, `z` (BF16, F32 or F64 [N, units]), `label` and `prediction` (I64 [N]),
/// `logits` (F32 or F64 [N, classes]), as metadata `units`, `fingerprint`, `paths`, `standardization`
/// and, of the baseline's file, `baseline`, a hash.
///
/// The files stay mapped and their numbers are read where they are used, so that a store may be larger than
/// memory. Labels, predictions and paths are held. Move-only; rows() stays valid while the object, or the one
/// it was moved to, lives.
class ProfileStore {
 public:
  /// @param files   in the order of their rows; a folder stands for the files of its index (StoreFolder) or,
  /// without one, its files *.safetensors by name
  /// @param tensor  which of their tensors the rows are
  /// @throws Error (argument) for no files, Error (io, format, dtype or shape) naming the file and what is
  /// wrong in it (io also for a folder whose index lacks samples), Error (baseline) naming the file that was
  /// made with another model, method, preprocessing, layers or standardization than the first, and the first
  /// difference.
  [[nodiscard]] static ProfileStore open(std::span<const std::filesystem::path> files,
                                         std::string_view tensor = "z") {
    ProfileStore store;
    for (const std::filesystem::path& file : listed(files)) {
      try {
        store.append(file, tensor);
      } catch (const Error& error) {
        const std::string place = file.string();
        if (error.place().starts_with(place)) throw;
        throw Error(error.code(), place + ", " + error.place(), error.expected(), error.came());
      }
    }
    if (store.files_.empty()) throw Error(ErrorCode::argument, "profile store", "at least one file", "none");
    return store;
  }

  /// Number of rows.
  [[nodiscard]] Index size() const noexcept { return static_cast<Index>(labels_.size()); }
  [[nodiscard]] const ProfileRows& rows() const noexcept { return *rows_; }  ///< the profiles, mapped
  /// Which units, in this order.
  [[nodiscard]] const Units& units() const noexcept { return rows().units(); }
  /// Of which model, method and preprocessing.
  [[nodiscard]] const Fingerprint& fingerprint() const noexcept { return fingerprint_; }

  /// Of each row: the true class.
  [[nodiscard]] const std::vector<std::int64_t>& labels() const noexcept { return labels_; }
  /// Of each row: what the model said.
  [[nodiscard]] const std::vector<std::int64_t>& predictions() const noexcept { return predictions_; }
  /// Of each row: which sample it is.
  [[nodiscard]] const std::vector<std::string>& paths() const noexcept { return paths_; }

  /// The rows that the model is wrong about, ascending.
  [[nodiscard]] std::vector<Index> wrong() const {
    std::vector<Index> rows;
    for (std::size_t i = 0; i < labels_.size(); ++i) {
      if (labels_[i] != predictions_[i]) rows.push_back(static_cast<Index>(i));
    }
    return rows;
  }

  /// The softmax of a row's logits at what the model said, in float64.
  [[nodiscard]] double confidence(Index row) const {
    const auto after = std::ranges::upper_bound(files_, row, {}, &File::first);
    const File& file = *std::prev(after);
    const auto i = static_cast<std::size_t>(row - file.first);
    double sum = 0.0;
    with_values(file.tensors, "logits", [&](const auto all) {
      const std::size_t classes = all.size() / file.count;
      const auto logits = all.subspan(i * classes, classes);
      double largest = -std::numeric_limits<double>::infinity();
      for (const auto each : logits) largest = std::max(largest, static_cast<double>(each));
      for (const auto each : logits) sum += std::exp(static_cast<double>(each) - largest);
    });
    if (!std::isfinite(sum)) {
      throw Error(ErrorCode::numeric, "logits of profile " + std::to_string(row), "finite values",
                  "NaN or infinity");
    }
    return 1.0 / sum;
  }

 private:
  struct File {
    Safetensors tensors;
    Index first;  ///< number of its first row
    std::size_t count;
  };

  ProfileStore() = default;

  /// Calls `use` with a tensor's values, bfloat16, float32 or float64, in the file's memory.
  template <class Use>
  static void with_values(const Safetensors& file, std::string_view name, const Use& use) {
    const Dtype dtype = file.at(name).dtype;
    if (dtype == Dtype::BF16) {
      use(file.values<Bfloat16>(name));
    } else if (dtype == Dtype::F32) {
      use(file.values<float>(name));
    } else {
      use(file.values<double>(name));
    }
  }

  static std::vector<std::filesystem::path> listed(std::span<const std::filesystem::path> files) {
    std::vector<std::filesystem::path> result;
    for (const std::filesystem::path& file : files) {
      std::error_code failure;
      if (!std::filesystem::is_directory(file, failure)) {
        result.push_back(file);
        continue;
      }
      if (std::filesystem::exists(StoreFolder::index_of(file), failure)) {
        const StoreFolder store = StoreFolder::open(file);
        if (store.done() < store.samples()) {
          throw Error(ErrorCode::io, file.string(),
                      std::to_string(store.samples()) + " samples (culprit profile goes on with it)",
                      std::to_string(store.done()));
        }
        std::ranges::move(store.paths(), std::back_inserter(result));
        continue;
      }
      const std::size_t before = result.size();
      for (const auto& entry : std::filesystem::directory_iterator(file)) {
        if (entry.path().extension() == ".safetensors") result.push_back(entry.path());
      }
      if (result.size() == before)
        throw Error(ErrorCode::io, file.string(), "a folder with files *.safetensors", "none");
      std::sort(result.begin() + static_cast<std::ptrdiff_t>(before), result.end());
    }
    return result;
  }

  void append(const std::filesystem::path& path, std::string_view tensor) {
    const std::string place = path.string();
    Safetensors file = Safetensors::open(path);
    const auto parse = [&](const std::string& key) {
      return parse_json(detail::metadata_at(file, key, place), place + ", metadata " + key);
    };
    if (tensor == "z" && !file.contains("z"))
      throw Error(ErrorCode::format, place, "the tensor z, which culprit profile --baseline writes", "none");
    auto units = std::make_shared<const Units>(units_from_json(parse("units")));
    Fingerprint fingerprint = detail::fingerprint_from_json(parse("fingerprint"));
    std::string standardization =
        tensor == "z" ? detail::metadata_at(file, "standardization", place) : std::string();
    const auto of_baseline = file.metadata().find("baseline");
    if (tensor == "z" && of_baseline != file.metadata().end())
      standardization.append(" by baseline ").append(of_baseline->second);
    if (!rows_) {
      rows_.emplace(units);
      fingerprint_ = std::move(fingerprint);
      standardization_ = std::move(standardization);
      first_ = place;
    } else {
      refuse(place, this->units().difference(*units));
      refuse(place, fingerprint_.difference(fingerprint));
      if (standardization != standardization_)
        refuse(place, "standardization " + standardization_ + " against " + standardization);
    }

    const std::vector<std::int64_t>& shape = file.at(tensor).shape;
    if (shape.size() != 2 || shape[1] != units->size()) {
      throw Error(ErrorCode::shape, place + ", tensor " + in_quotes(tensor),
                  "[N, " + std::to_string(units->size()) + "], a value for each unit", text_of(shape));
    }
    const std::int64_t count = shape[0];
    const auto check_rows = [&](const std::string& name, std::size_t dimensions) {
      const std::vector<std::int64_t>& extents = file.at(name).shape;
      if (extents.size() != dimensions || extents[0] != count || (dimensions == 2 && extents[1] < 1)) {
        throw Error(
            ErrorCode::shape, place + ", tensor " + in_quotes(name),
            std::to_string(count) + (dimensions == 2 ? " rows" : " values") + ", as " + in_quotes(tensor),
            text_of(extents));
      }
    };
    check_rows("label", 1);
    check_rows("prediction", 1);
    check_rows("logits", 2);
    const Json paths = parse("paths");
    if (static_cast<std::int64_t>(paths.size()) != count) {
      throw Error(ErrorCode::shape, place + ", metadata paths", std::to_string(count) + ", one for each row",
                  std::to_string(paths.size()));
    }
    for (const Json& each : paths.items()) paths_.push_back(each.as_string());
    for (const auto& [name, list] : {std::pair("label", &labels_), std::pair("prediction", &predictions_)}) {
      const auto values = file.read<std::int64_t>(name);
      list->insert(list->end(), values.begin(), values.end());
    }
    with_values(file, "logits", [](auto) {});  // refuses other types now
    const Index first = rows_->size();
    with_values(file, tensor, [&](const auto table) { rows_->append(table); });
    files_.push_back({std::move(file), first, static_cast<std::size_t>(count)});
  }

  void refuse(const std::string& place, const std::string& difference) const {
    if (difference.empty()) return;
    throw Error(ErrorCode::baseline, place, "profiles made as those of " + first_, difference);
  }

  std::vector<File> files_;
  std::optional<ProfileRows> rows_;  // there as soon as the first file is
  Fingerprint fingerprint_;
  std::string standardization_;
  std::string first_;
  std::vector<std::int64_t> labels_, predictions_;
  std::vector<std::string> paths_;
};

}  // namespace culprit::io
