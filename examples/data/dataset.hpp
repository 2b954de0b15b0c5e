// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "classes.hpp"
#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"
#include "file_dataset.hpp"
#include "item.hpp"
#include "record_dataset.hpp"

namespace culprit::data {

/// Opens a data set by its kind and place:
/// - `folder:DIR`     pictures in sub-folders, one sub-folder a class (open_folder)
/// - `list:FILE`      pictures named in a file of lines `path TAB label`, within its folder; `list:FILE#ROOT`
/// within the folder ROOT (open_list)
/// - `cifar10:DIR`    CIFAR-10's binary test batch; `cifar10:DIR#train` its five training batches
/// (open_cifar10)
/// - `idx:DIR`        MNIST-like t10k files; `idx:DIR#train` the training files (open_idx)
/// @param classes a file of lines `index name...` (Classes::read): names for the classes, and for `folder:`
/// labels
/// @throws Error naming the file, line or byte that is wrong
inline std::unique_ptr<Dataset> open_dataset(
    const std::string& spec, const std::optional<std::filesystem::path>& classes = std::nullopt) {
  const std::size_t colon = spec.find(':');
  const std::string kind = spec.substr(0, colon);
  std::string place = colon == std::string::npos ? "" : spec.substr(colon + 1);
  if (place.empty()) {
    throw Error(ErrorCode::argument, "data set " + io::in_quotes(spec),
                "folder:DIR, cifar10:DIR, idx:DIR or list:FILE", "no place");
  }
  std::optional<Classes> names;
  if (classes) names = Classes::read(*classes);
  if (kind == "folder") return open_folder(place, std::move(names));

  std::optional<std::string> set;
  if (const std::size_t mark = place.rfind('#'); mark != std::string::npos) {
    set = place.substr(mark + 1);
    place.resize(mark);
  }
  if (kind == "list") return open_list(place, std::move(names), set);
  if (kind == "cifar10") return open_cifar10(place, set.value_or("test"), std::move(names));
  if (kind == "idx") return open_idx(place, set.value_or("t10k"), std::move(names));
  throw Error(ErrorCode::argument, "data set " + io::in_quotes(spec),
              "folder:, cifar10:, idx: or list:", io::in_quotes(kind));
}

}  // namespace culprit::data
