// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <variant>

#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"

namespace culprit::io {
namespace detail {

/// Bytes of the well-formed UTF-8 sequence at the front of a non-empty text, 0 when there is none (Unicode
/// 15, table 3-7).
constexpr std::size_t utf8_length(std::string_view text) noexcept {
  const auto byte = [text](std::size_t i) {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0U;
  };
  const auto continues = [&byte](std::size_t i) { return (byte(i) & 0xc0U) == 0x80U; };
  const unsigned lead = byte(0);
  const unsigned second = byte(1);
  if (lead < 0x80) return 1;
  if (lead >= 0xc2 && lead <= 0xdf) return continues(1) ? 2 : 0;
  if (lead >= 0xe0 && lead <= 0xef) {
    const bool overlong = lead == 0xe0 && second < 0xa0;
    const bool surrogate = lead == 0xed && second > 0x9f;
    return continues(1) && continues(2) && !overlong && !surrogate ? 3 : 0;
  }
  if (lead >= 0xf0 && lead <= 0xf4) {
    const bool overlong = lead == 0xf0 && second < 0x90;
    const bool beyond = lead == 0xf4 && second > 0x8f;
    return continues(1) && continues(2) && continues(3) && !overlong && !beyond ? 4 : 0;
  }
  return 0;
}

inline void append_utf8(std::string& text, unsigned code) {
  const auto put = [&text](unsigned byte) { text += static_cast<char>(static_cast<unsigned char>(byte)); };
  const auto rest = [&](int shift) { put(0x80U | ((code >> shift) & 0x3fU)); };
  if (code < 0x80) {
    put(code);
  } else if (code < 0x800) {
    put(0xc0U | (code >> 6));
    rest(0);
  } else if (code < 0x10000) {
    put(0xe0U | (code >> 12));
    rest(6);
    rest(0);
  } else {
    put(0xf0U | (code >> 18));
    rest(12);
    rest(6);
    rest(0);
  }
}

}  // namespace detail

/// Walks over JSON text (RFC 8259) without building a tree, so that a reader keeps only what it wants: memory
/// is that of the longest string. Every error is an Error{format} that names the place and the byte.
class JsonScanner {
 public:
  static constexpr int max_depth = 64;  ///< arrays and objects inside each other

  /// @param place  the file, for errors
  /// @param first  where in the file the text begins, in bytes
  JsonScanner(std::string_view text, std::string_view place, std::size_t first = 0)
      : text_(text), place_(place), first_(first) {}

  /// Byte of the file that comes next, white space skipped.
  [[nodiscard]] std::size_t offset() {
    skip_space();
    return first_ + position_;
  }
  /// The next byte, white space skipped; 0 at the end.
  [[nodiscard]] char peek() {
    skip_space();
    return position_ < text_.size() ? text_[position_] : '\0';
  }

  /// Calls on_member(key, byte of the key) before each value; it must consume the value.
  template <class OnMember>
  void object(OnMember&& on_member) {
    sequence('{', '}', "an object", [&] {
      const std::size_t key_offset = offset();
      std::string key = string();
      expect(':', "':'");
      on_member(std::move(key), key_offset);
    });
  }
  /// Calls on_item() before each item; it must consume the item.
  template <class OnItem>
  void array(OnItem&& on_item) {
    sequence('[', ']', "an array", on_item);
  }

  /// A string, unescaped; only well-formed UTF-8 passes.
  std::string string() {
    expect('"', "a string");
    std::string result;
    if (const auto quote = text_.find('"', position_); quote != text_.npos) result.reserve(quote - position_);
    for (;;) {
      const char next = position_ < text_.size() ? text_[position_] : '\0';
      if (next == '"') {
        ++position_;
        return result;
      }
      if (next == '\\') {
        ++position_;
        escape(result);
      } else {
        if (static_cast<unsigned char>(next) < 0x20) refuse("the rest of a string");
        const std::size_t length = detail::utf8_length(text_.substr(position_));
        if (length == 0) refuse("UTF-8");
        result += text_.substr(position_, length);
        position_ += length;
      }
    }
  }

  /// A number: an exact integer when it is written as one and fits 64 bits, else a double.
  std::variant<std::int64_t, double> number() {
    skip_space();
    const std::size_t begin = position_;
    const auto digits = [this] {
      const std::size_t from = position_;
      while (position_ < text_.size() && text_[position_] >= '0' && text_[position_] <= '9') ++position_;
      if (position_ == from) refuse("a digit");
    };
    const auto take = [this](std::string_view any) {
      const bool taken = position_ < text_.size() && any.find(text_[position_]) != any.npos;
      position_ += taken ? 1 : 0;
      return taken;
    };
    const bool negative = take("-");
    if (!take("0")) digits();
    bool integer = true;
    if (take(".")) {
      integer = false;
      digits();
    }
    if (take("eE")) {
      integer = false;
      take("+-");
      digits();
    }
    const char* const from = text_.data() + begin;
    const char* const to = text_.data() + position_;
    std::int64_t whole = 0;
    // "-0" stays a double: an integer would lose the sign.
    if (integer && std::from_chars(from, to, whole).ec == std::errc{} && !(negative && whole == 0))
      return whole;
    double value = 0;
    if (std::from_chars(from, to, value).ec != std::errc{}) {
      fail(first_ + begin, "a number that a double holds", in_quotes({from, to}));
    }
    return value;
  }

  /// Consumes the word if it comes next.
  bool take_word(std::string_view word) {
    skip_space();
    if (!text_.substr(position_).starts_with(word)) return false;
    position_ += word.size();
    return true;
  }
  /// Nothing but white space may follow.
  void finish() {
    skip_space();
    if (position_ != text_.size()) refuse("the end of the JSON text");
  }

  /// Refuses what comes next.
  [[noreturn]] void refuse(const std::string& expected) {
    fail(first_ + position_, expected,
         position_ < text_.size() ? in_quotes(text_.substr(position_, 1))
                                  : std::string{"the end of the text"});
  }
  /// @param byte  of the file
  /// @throws Error{format}, always
  [[noreturn]] void fail(std::size_t byte, const std::string& expected, const std::string& came) const {
    throw Error(ErrorCode::format, at_byte(place_, byte), expected, came);
  }

 private:
  void skip_space() { position_ = std::min(text_.find_first_not_of(" \t\n\r", position_), text_.size()); }
  void expect(char symbol, const char* expected) {
    if (peek() != symbol || position_ == text_.size()) refuse(expected);
    ++position_;
  }

  template <class OnEach>
  void sequence(char open, char close, const char* expected, OnEach&& on_each) {
    expect(open, expected);
    if (++depth_ > max_depth) {
      fail(first_ + position_ - 1,
           "at most " + std::to_string(max_depth) + " arrays and objects inside each other", "one more");
    }
    if (peek() != close) {
      on_each();
      while (peek() == ',') {
        ++position_;
        on_each();
      }
    }
    expect(close, close == '}' ? "',' or '}'" : "',' or ']'");
    --depth_;
  }

  unsigned hexadecimal() {
    unsigned code = 0;
    const char* const from = text_.data() + position_;
    if (text_.size() - position_ < 4) refuse("four hexadecimal digits");
    const auto [end, error] = std::from_chars(from, from + 4, code, 16);
    if (error != std::errc{} || end != from + 4) refuse("four hexadecimal digits");
    position_ += 4;
    return code;
  }
  void escape(std::string& result) {
    constexpr std::string_view symbols = "\"\\/bfnrt";
    constexpr std::string_view meanings = "\"\\/\b\f\n\r\t";
    const std::size_t begin = position_;
    if (const auto which = begin < text_.size() ? symbols.find(text_[begin]) : symbols.npos;
        which != symbols.npos) {
      ++position_;
      result += meanings[which];
      return;
    }
    if (!text_.substr(position_).starts_with('u')) refuse("an escape sequence of JSON");
    ++position_;
    unsigned code = hexadecimal();
    if (code >= 0xd800 && code < 0xdc00 && text_.substr(position_).starts_with("\\u")) {
      position_ += 2;
      const unsigned low = hexadecimal();
      code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xd800;
    }
    if (code >= 0xd800 && code < 0xe000) {
      fail(first_ + begin, "a pair of surrogates", in_quotes(text_.substr(begin, position_ - begin)));
    }
    detail::append_utf8(result, code);
  }

  std::string_view text_;
  std::string_view place_;
  std::size_t first_;
  std::size_t position_ = 0;
  int depth_ = 0;
};

}  // namespace culprit::io
