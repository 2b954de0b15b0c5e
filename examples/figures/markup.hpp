// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace culprit::figures {

/// A finite number with at most `precision` decimals, no trailing zeros, no exponent, never "-0": the same
/// bytes on every machine and in every locale.
inline std::string fixed(double value, int precision) {
  std::array<char, 512> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::fixed, precision);
  std::string text(buffer.data(), end.ptr);
  if (text.find('.') != std::string::npos) {
    text.erase(text.find_last_not_of('0') + 1);
    if (text.back() == '.') text.pop_back();
  }
  return text == "-0" ? "0" : text;
}

namespace detail {

/// Length of the UTF-8 sequence at the start of `text`, 0 when it is not one (overlong, surrogate, cut off).
inline std::size_t utf8_length(std::string_view text) {
  const auto byte = [text](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char lead = byte(0);
  if (lead < 0x80) return 1;
  const std::size_t length = lead >= 0xf0 && lead <= 0xf4 ? 4 : lead >= 0xe0 ? 3 : 2;
  if (lead < 0xc2 || lead > 0xf4 || text.size() < length) return 0;
  std::uint32_t code = lead & (0xffU >> (length + 1));
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xc0) != 0x80) return 0;
    code = (code << 6) | (byte(i) & 0x3fU);
  }
  const bool overlong = (length == 3 && code < 0x800) || (length == 4 && code < 0x10000);
  const bool not_a_character =
      (code >= 0xd800 && code < 0xe000) || code == 0xfffe || code == 0xffff || code > 0x10ffff;
  return overlong || not_a_character ? 0 : length;
}

}  // namespace detail

/// Text fit for XML and HTML, between tags and in quoted attributes. A file name may hold any bytes: those
/// that XML cannot carry (control characters, broken UTF-8) become U+FFFD.
inline std::string escaped(std::string_view text) {
  std::string result;
  result.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = detail::utf8_length(text);
    const char first = text.front();
    const bool control = static_cast<unsigned char>(first) < 0x20 && first != '\n' && first != '\t';
    if (length == 0 || control || first == 0x7f) {
      result += "\xef\xbf\xbd";
    } else if (first == '&') {
      result += "&amp;";
    } else if (first == '<') {
      result += "&lt;";
    } else if (first == '>') {
      result += "&gt;";
    } else if (first == '"') {
      result += "&quot;";
    } else if (first == '\'') {
      result += "&#39;";
    } else {
      result += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

/// One attribute of an element; numbers get two decimals, a hundredth of a pixel.
struct Attribute {
  std::string_view name;
  std::string value;

  Attribute(std::string_view attribute, std::string_view text) : name(attribute), value(text) {}
  Attribute(std::string_view attribute, double number) : name(attribute), value(fixed(number, 2)) {}
};

/// Writes elements one after another; whatever is still open at the end is closed, so the result is
/// well-formed.
class Markup {
 public:
  using Attributes = std::initializer_list<Attribute>;

  Markup& open(std::string_view tag, Attributes attributes = {}) {
    begin(tag, attributes);
    text_ += '>';
    open_.emplace_back(tag);
    return *this;
  }

  Markup& close() {
    text_ += "</" + open_.back() + ">\n";
    open_.pop_back();
    return *this;
  }

  /// An element without content.
  Markup& leaf(std::string_view tag, Attributes attributes = {}) {
    begin(tag, attributes);
    text_ += "/>\n";
    return *this;
  }

  /// An element with nothing but text in it, which is escaped here.
  Markup& element(std::string_view tag, Attributes attributes, std::string_view content) {
    return open(tag, attributes).text(content).close();
  }

  Markup& text(std::string_view content) {
    text_ += escaped(content);
    return *this;
  }

  /// Markup made elsewhere, taken as it is.
  Markup& raw(std::string_view markup) {
    text_ += markup;
    return *this;
  }

  [[nodiscard]] std::string take() && {
    while (!open_.empty()) close();
    return std::move(text_);
  }

 private:
  void begin(std::string_view tag, Attributes attributes) {
    text_ += '<';
    text_ += tag;
    for (const Attribute& attribute : attributes) {
      text_ += ' ';
      text_ += attribute.name;
      text_ += "=\"" + escaped(attribute.value) + '"';
    }
  }

  std::string text_;
  std::vector<std::string> open_;
};

}  // namespace culprit::figures
