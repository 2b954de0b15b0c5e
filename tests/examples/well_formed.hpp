// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cctype>
#include <cstddef>
#include <set>
#include <string>
#include <string_view>
#include <vector>

namespace culprit::test {

/// What is wrong with one tag, given without its angle brackets: "name a="b" ..." or "name/" or "/name".
inline std::string flaw_of_tag(std::string_view tag) {
  const auto name_length = [&tag] {
    std::size_t length = 0;
    while (length < tag.size() &&
           (std::isalnum(static_cast<unsigned char>(tag[length])) || tag[length] == '-'))
      ++length;
    return length;
  };
  if (tag.starts_with('/')) {
    tag.remove_prefix(1);
  } else if (tag.ends_with('/')) {
    tag.remove_suffix(1);
  }
  if (name_length() == 0) return "no name";
  tag.remove_prefix(name_length());
  std::set<std::string_view> names;
  while (!tag.empty()) {
    if (!tag.starts_with(' ')) return "no space between attributes";
    tag.remove_prefix(1);
    const std::size_t length = name_length();
    if (length == 0 || !names.insert(tag.substr(0, length)).second)
      return "an attribute without name, or twice";
    tag.remove_prefix(length);
    const std::size_t end = tag.find('"', 2);
    if (!tag.starts_with("=\"") || end == std::string_view::npos) return "a value without quotes";
    if (tag.substr(0, end).find('<') != std::string_view::npos) return "an angle bracket in a value";
    tag.remove_prefix(end + 1);
  }
  return {};
}

/// Why the text is no well-formed XML document, empty when it is one. Stricter than XML: only the five
/// entities, attributes in double quotes, and '>' only as the end of a tag.
inline std::string flaw(std::string_view document) {
  constexpr std::string_view declaration = "<!DOCTYPE html>\n";
  if (document.starts_with(declaration)) document.remove_prefix(declaration.size());
  for (std::size_t i = 0; i < document.size(); ++i) {
    const auto byte = static_cast<unsigned char>(document[i]);
    if (byte < 0x20 && byte != '\n' && byte != '\t') return "a control character";
    const auto is_entity = [&](std::string_view entity) {
      return document.substr(i + 1).starts_with(entity);
    };
    if (byte == '&' && !is_entity("amp;") && !is_entity("lt;") && !is_entity("gt;") && !is_entity("quot;") &&
        !is_entity("#39;")) {
      return "a loose ampersand";
    }
  }
  std::vector<std::string_view> open;
  bool ended = false;
  while (!document.empty()) {
    const std::size_t next = std::min(document.find('<'), document.size());
    const std::string_view between = document.substr(0, next);
    if (between.find('>') != std::string_view::npos) return "a loose angle bracket";
    if (open.empty() && between.find_first_not_of('\n') != std::string_view::npos)
      return "text outside the root";
    document.remove_prefix(next);
    if (document.empty()) break;
    const std::size_t end = document.find('>');
    if (end == std::string_view::npos) return "an open tag at the end";
    const std::string_view tag = document.substr(1, end - 1);
    document.remove_prefix(end + 1);
    if (const std::string wrong = flaw_of_tag(tag); !wrong.empty())
      return wrong + ": " + std::string{tag.substr(0, 80)};
    if (tag.starts_with('/')) {
      if (open.empty() || open.back() != tag.substr(1)) return "an end without start: " + std::string{tag};
      open.pop_back();
    } else {
      if (ended) return "a second root: " + std::string{tag};
      if (!tag.ends_with('/')) open.push_back(tag.substr(0, tag.find(' ')));
    }
    ended = open.empty();
  }
  if (!open.empty()) return "not closed: " + std::string{open.back()};
  return ended ? "" : "no element";
}

}  // namespace culprit::test
