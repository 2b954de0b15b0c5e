// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"
#include "culprit/io/mapped_file.hpp"

namespace culprit::data {

/// A class index written in decimal, nothing before or after it; nothing when it is not one.
inline std::optional<std::int64_t> parse_label(std::string_view text) {
  std::int64_t label = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), label);
  if (failure != std::errc{} || end != text.data() + text.size() || label < 0) return std::nullopt;
  return label;
}

/// The place of a line of a file, as Error's place, counted from 1.
inline std::string at_line(const std::filesystem::path& path, std::size_t number) {
  return path.string() + ", line " + std::to_string(number);
}

/// The lines of a text file, without their ends (LF or CRLF), each given to `use(number from 1, line)`; empty
/// lines are left out.
template <class Use>
void for_each_line(const std::filesystem::path& path, Use use) {
  const io::MappedFile file = io::MappedFile::open(path);
  std::string_view rest = file.text();
  for (std::size_t number = 1; !rest.empty(); ++number) {
    const std::size_t end = rest.find('\n');
    std::string_view line = rest.substr(0, end);
    rest.remove_prefix(end == std::string_view::npos ? rest.size() : end + 1);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (!line.empty()) use(number, line);
  }
}

/// The classes of a data set, from a file of lines `index name...` such as `2 n01484850 great_white_shark` or
/// `3 cat`: the first name stands for the class in folder names, the rest is for people.
class Classes {
 public:
  /// @throws Error io or format, naming file and line
  static Classes read(const std::filesystem::path& path) {
    Classes classes;
    for_each_line(path, [&](std::size_t number, std::string_view line) {
      const auto fail = [&](const std::string& expected, const std::string& came) {
        throw Error(ErrorCode::format, at_line(path, number), expected, came);
      };
      const std::size_t space = line.find_first_of(" \t");
      const auto label = parse_label(line.substr(0, space));
      const std::size_t name = line.find_first_not_of(" \t", space);
      if (!label || space == std::string_view::npos || name == std::string_view::npos)
        fail("'index name...'", io::in_quotes(line));
      const std::string_view names = line.substr(name);
      const std::string_view first = names.substr(0, names.find_first_of(" \t"));
      if (classes.labels_.contains(first)) fail("a first name of its own", io::in_quotes(first) + " again");
      if (classes.names_.contains(*label)) fail("an index of its own", std::to_string(*label) + " again");
      classes.add(*label, std::string(first), std::string(without_wnid(names)));
    });
    if (classes.names_.empty())
      throw Error(ErrorCode::format, path.string(), "lines 'index name...'", "none");
    return classes;
  }

  void add(std::int64_t label, std::string first_name, std::string name) {
    labels_.emplace(std::move(first_name), label);
    names_.emplace(label, std::move(name));
  }

  /// The class whose first name starts `folder`; the longest such name where several do ("car", "cargo").
  [[nodiscard]] std::optional<std::int64_t> label_of(std::string_view folder) const {
    for (std::size_t length = folder.size(); length > 0; --length) {
      const auto found = labels_.find(folder.substr(0, length));
      if (found != labels_.end()) return found->second;
    }
    return std::nullopt;
  }
  /// What people call the class; the number where no name is known.
  [[nodiscard]] std::string name(std::int64_t label) const {
    const auto found = names_.find(label);
    return found == names_.end() ? std::to_string(label) : found->second;
  }

 private:
  // "n01484850 great_white_shark": the WordNet number means nothing to a reader.
  static std::string_view without_wnid(std::string_view names) {
    const std::size_t digits = names.find_first_not_of("0123456789", 1);
    const bool wnid = names.starts_with('n') && digits == 9 && names[digits] == ' ';
    return wnid ? names.substr(digits + 1) : names;
  }

  std::map<std::string, std::int64_t, std::less<>> labels_;
  std::map<std::int64_t, std::string> names_;
};

}  // namespace culprit::data
