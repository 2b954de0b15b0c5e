// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "classes.hpp"
#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"
#include "culprit/io/mapped_file.hpp"
#include "idx.hpp"
#include "item.hpp"

namespace culprit::data {

/// Grey pictures and labels held in memory, from a pair of IDX files.
class IdxDataset final : public Dataset {
 public:
  /// @param name stands before '#' in the items' names
  /// @param images [N, height, width]
  /// @param labels [N]
  IdxDataset(std::string name, IdxArray images, IdxArray labels, Classes classes)
      : Dataset(std::move(classes)),
        name_(std::move(name)),
        images_(std::move(images)),
        labels_(std::move(labels)) {}

  [[nodiscard]] std::size_t size() const override { return labels_.values.size(); }
  [[nodiscard]] Item item(std::size_t i) const override {
    return {name_ + '#' + std::to_string(i), labels_.values[i]};
  }
  [[nodiscard]] Image image(std::size_t i) const override {
    Image image = make_image(images_.shape[2], images_.shape[1], 1, name_);
    std::copy_n(images_.values.begin() + static_cast<std::ptrdiff_t>(i * image.pixels.size()),
                image.pixels.size(), image.pixels.begin());
    return image;
  }

 private:
  std::string name_;
  IdxArray images_;
  IdxArray labels_;
};

/// The pair SET-images-idx3-ubyte and SET-labels-idx1-ubyte in `folder`, each raw or, with .gz, compressed.
/// @param set "t10k" or "train" in the files of MNIST and its successors
/// @throws Error io or format: a file is missing or malformed, or the two differ in their number of items
inline std::unique_ptr<Dataset> open_idx(const std::filesystem::path& folder, const std::string& set,
                                         std::optional<Classes> classes) {
  const auto find = [&](const std::string& name) {
    const std::filesystem::path raw = folder / name;
    return std::filesystem::exists(raw) ? raw : std::filesystem::path(raw.string() + ".gz");
  };
  const std::string name = set + "-images-idx3-ubyte";
  const std::filesystem::path labels_path = find(set + "-labels-idx1-ubyte");
  IdxArray images = read_idx(find(name), 3);
  IdxArray labels = read_idx(labels_path, 1);
  if (images.shape[0] != labels.shape[0]) {
    throw Error(ErrorCode::format, labels_path.string(),
                std::to_string(images.shape[0]) + " labels, one for each image of " + name,
                std::to_string(labels.shape[0]));
  }
  return std::make_unique<IdxDataset>(name, std::move(images), std::move(labels),
                                      std::move(classes).value_or(Classes{}));
}

/// 32 x 32 RGB pictures mapped into memory, from CIFAR-10's "binary version": records of a label byte and
/// 1024 red, 1024 green and 1024 blue bytes.
class Cifar10Dataset final : public Dataset {
 public:
  /// A batch file's name and its records.
  struct Source {
    std::string name;
    io::MappedFile records;
    [[nodiscard]] std::size_t size() const { return records.bytes().size() / record_bytes; }
    /// The label byte of record i, with the 3072 samples behind it.
    [[nodiscard]] const std::uint8_t* record(std::size_t i) const {
      return reinterpret_cast<const std::uint8_t*>(records.bytes().data()) + i * record_bytes;
    }
  };
  static constexpr std::size_t record_bytes = 1 + 3 * 1024;

  Cifar10Dataset(std::vector<Source> sources, Classes classes)
      : Dataset(std::move(classes)), sources_(std::move(sources)) {}

  [[nodiscard]] std::size_t size() const override {
    std::size_t count = 0;
    for (const Source& source : sources_) count += source.size();
    return count;
  }
  [[nodiscard]] Item item(std::size_t i) const override {
    const auto [source, record] = find(i);
    return {source->name + '#' + std::to_string(record), *source->record(record)};
  }
  [[nodiscard]] Image image(std::size_t i) const override {
    const auto [source, record] = find(i);
    Image image = make_image(32, 32, 3, source->name);
    const std::uint8_t* planes = source->record(record) + 1;
    for (std::size_t pixel = 0; pixel < 1024; ++pixel) {
      for (std::size_t channel = 0; channel < 3; ++channel)
        image.pixels[3 * pixel + channel] = planes[1024 * channel + pixel];
    }
    return image;
  }

 private:
  [[nodiscard]] std::pair<const Source*, std::size_t> find(std::size_t i) const {
    const Source* source = sources_.data();
    for (; i >= source->size(); ++source) i -= source->size();
    return {source, i};
  }

  std::vector<Source> sources_;
};

/// The records of one batch file.
/// @throws Error io or format: a missing file, a size that is not whole records, a label above 9
inline Cifar10Dataset::Source open_cifar10_batch(const std::filesystem::path& file) {
  const std::string place = file.string();
  Cifar10Dataset::Source source{file.filename().string(), io::MappedFile::open(file)};
  constexpr std::size_t step = Cifar10Dataset::record_bytes;
  if (source.size() == 0 || source.records.bytes().size() % step != 0) {
    throw Error(ErrorCode::format, place, "records of " + std::to_string(step) + " bytes",
                std::to_string(source.records.bytes().size()) + " bytes in all");
  }
  for (std::size_t i = 0; i < source.size(); ++i) {
    if (*source.record(i) > 9) {
      throw Error(ErrorCode::format, io::at_byte(place, i * step), "a label from 0 to 9",
                  std::to_string(*source.record(i)));
    }
  }
  return source;
}

/// test_batch.bin of `folder` (set "test"), or data_batch_1.bin to data_batch_5.bin (set "train").
/// @throws Error as open_cifar10_batch, Error argument for another set
inline std::unique_ptr<Dataset> open_cifar10(const std::filesystem::path& folder, const std::string& set,
                                             std::optional<Classes> classes) {
  std::vector<std::string> names;
  if (set == "test") names = {"test_batch.bin"};
  if (set == "train")
    for (int batch = 1; batch <= 5; ++batch) names.push_back("data_batch_" + std::to_string(batch) + ".bin");
  if (names.empty())
    throw Error(ErrorCode::argument, "cifar10:" + folder.string(), "#test or #train", "#" + set);
  std::vector<Cifar10Dataset::Source> sources;
  for (const std::string& name : names) sources.push_back(open_cifar10_batch(folder / name));
  return std::make_unique<Cifar10Dataset>(std::move(sources), std::move(classes).value_or(Classes{}));
}

}  // namespace culprit::data
