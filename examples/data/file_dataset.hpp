// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <cctype>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "classes.hpp"
#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"
#include "image.hpp"
#include "item.hpp"

namespace culprit::data {

/// Pictures in files of their own, decoded when asked for.
class FileDataset final : public Dataset {
 public:
  /// @param root the folder that the items' paths are relative to
  FileDataset(std::filesystem::path root, std::vector<Item> items, Classes classes)
      : Dataset(std::move(classes)), root_(std::move(root)), items_(std::move(items)) {}

  [[nodiscard]] std::size_t size() const override { return items_.size(); }
  [[nodiscard]] Item item(std::size_t i) const override { return items_[i]; }
  [[nodiscard]] Image image(std::size_t i) const override { return decode_image(root_ / items_[i].path); }

 private:
  std::filesystem::path root_;
  std::vector<Item> items_;
};

namespace detail {

/// The names in a folder that `keep` accepts, sorted by bytes; names that start with a dot are never among
/// them.
template <class Keep>
std::vector<std::string> sorted_names(const std::filesystem::path& folder, Keep keep) {
  std::vector<std::string> names;
  std::error_code failure;
  std::filesystem::directory_iterator entry(folder, failure);
  for (; !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
    std::string name = entry->path().filename().string();
    if (!name.starts_with('.') && keep(*entry)) names.push_back(std::move(name));
  }
  if (failure) throw Error(ErrorCode::io, folder.string(), "a readable folder", failure.message());
  std::ranges::sort(names);
  return names;
}

inline bool is_picture(const std::filesystem::directory_entry& entry) {
  std::string extension = entry.path().extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](unsigned char letter) { return static_cast<char>(std::tolower(letter)); });
  constexpr std::array<std::string_view, 3> known{".jpg", ".jpeg", ".png"};
  std::error_code failure;
  return std::ranges::find(known, extension) != known.end() && entry.is_regular_file(failure);
}

/// Whether a path, relative to a folder or absolute, leads to something within it (links aside).
inline bool stays_within(const std::filesystem::path& folder, const std::filesystem::path& path) {
  const auto relative = (folder / path).lexically_normal().lexically_relative(folder.lexically_normal());
  return !relative.empty() && *relative.begin() != ".." && path.native().find('\0') == std::string::npos;
}

}  // namespace detail

/// Pictures (.jpg, .jpeg, .png in any case) in the sub-folders of `root`, one sub-folder a class, in the
/// order of sub-folder, then file, each by bytes.
/// @param classes gives a sub-folder the label of the class whose first name starts its name; without it the
/// label
///                is the index of the sorted sub-folder
/// @throws Error io or format: no such folder, no sub-folders, one without pictures, one of no class
inline std::unique_ptr<Dataset> open_folder(const std::filesystem::path& root,
                                            std::optional<Classes> classes) {
  const std::vector<std::string> folders =
      detail::sorted_names(root, [](const std::filesystem::directory_entry& entry) {
        std::error_code failure;
        return entry.is_directory(failure);
      });
  if (folders.empty())
    throw Error(ErrorCode::format, root.string(), "sub-folders of pictures, one for each class", "none");
  if (!classes) {
    classes.emplace();
    for (std::size_t i = 0; i < folders.size(); ++i)
      classes->add(static_cast<std::int64_t>(i), folders[i], folders[i]);
  }
  std::vector<Item> items;
  for (const std::string& folder : folders) {
    const std::filesystem::path place = root / folder;
    const std::optional<std::int64_t> label = classes->label_of(folder);
    if (!label) {
      throw Error(ErrorCode::label, place.string(),
                  "a folder name that starts with the first name of a class", io::in_quotes(folder));
    }
    const std::vector<std::string> files = detail::sorted_names(place, detail::is_picture);
    if (files.empty()) throw Error(ErrorCode::format, place.string(), "pictures (.jpg, .jpeg, .png)", "none");
    for (const std::string& file : files) items.push_back({(folder + '/').append(file), *label});
  }
  return std::make_unique<FileDataset>(root, std::move(items), std::move(*classes));
}

/// Pictures named in a text file of lines `path TAB label`; paths are relative to a folder, or absolute, and
/// lead nowhere but into it: a list from a stranger opens no other files.
/// @param folder  that of the file without it
/// @throws Error io or format, naming file and line
inline std::unique_ptr<Dataset> open_list(const std::filesystem::path& list, std::optional<Classes> classes,
                                          const std::optional<std::filesystem::path>& folder = std::nullopt) {
  const std::filesystem::path root = folder.value_or(list.parent_path());
  std::vector<Item> items;
  for_each_line(list, [&](std::size_t number, std::string_view line) {
    const std::size_t tab = line.rfind('\t');
    const auto label = tab == std::string_view::npos ? std::nullopt : parse_label(line.substr(tab + 1));
    if (!label || tab == 0) {
      throw Error(ErrorCode::format, at_line(list, number), "path, TAB, label (an integer from 0)",
                  io::in_quotes(line));
    }
    std::string path(line.substr(0, tab));
    if (!detail::stays_within(root, path)) {
      throw Error(ErrorCode::format, at_line(list, number),
                  folder ? "a path within " + root.string()
                         : "a path within the list's folder (list:FILE#ROOT sets another)",
                  io::in_quotes(path));
    }
    items.push_back({std::move(path), *label});
  });
  if (items.empty()) throw Error(ErrorCode::format, list.string(), "lines 'path TAB label'", "none");
  return std::make_unique<FileDataset>(root, std::move(items), std::move(classes).value_or(Classes{}));
}

}  // namespace culprit::data
