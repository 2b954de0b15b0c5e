// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "culprit/core/error.hpp"
#include "culprit/io/describe.hpp"
#include "culprit/io/json_scanner.hpp"

namespace culprit::io {

/// A JSON value (RFC 8259). Objects keep the order of insertion; integers that fit stay exact 64-bit
/// integers. Accessors throw Error{format} when the value is of another kind.
class Json {
 public:
  using Array = std::vector<Json>;                           ///< in order
  using Object = std::vector<std::pair<std::string, Json>>;  ///< keys and values in the order of insertion

  Json() = default;                                       ///< null
  Json(std::same_as<bool> auto value) : value_(value) {}  ///< true or false
  /// @throws Error{numeric} beyond 64 bits signed
  template <std::integral T>
  requires(!std::same_as<T, bool> && !std::same_as<T, char>) Json(T value)
      : value_(static_cast<std::int64_t>(value)) {
    if (!std::in_range<std::int64_t>(value)) {
      throw Error(ErrorCode::numeric, "JSON integer", "at most 9223372036854775807", std::to_string(value));
    }
  }
  Json(std::floating_point auto value) : value_(static_cast<double>(value)) {}  ///< a number
  /// Text, in UTF-8.
  template <class T>
  requires std::convertible_to<const T&, std::string_view> Json(const T& text)
      : value_(std::string{std::string_view{text}}) {}

  static Json array(Array items = {}) { return Json{Value{std::move(items)}}; }  ///< of these items
  /// The keys must differ from each other: set() sees to it, this does not.
  static Json object(Object members = {}) { return Json{Value{std::move(members)}}; }

  [[nodiscard]] bool is_null() const noexcept { return is<std::monostate>(); }  ///< whether it is null
  [[nodiscard]] bool is_int() const noexcept { return is<std::int64_t>(); }     ///< a 64-bit integer
  /// Of either kind.
  [[nodiscard]] bool is_number() const noexcept { return is<std::int64_t>() || is<double>(); }
  [[nodiscard]] bool is_string() const noexcept { return is<std::string>(); }  ///< text
  [[nodiscard]] bool is_array() const noexcept { return is<Array>(); }         ///< [...]
  [[nodiscard]] bool is_object() const noexcept { return is<Object>(); }       ///< {...}

  [[nodiscard]] bool as_bool() const { return get<bool>("true or false"); }  ///< @throws Error{format}
  /// @throws Error{format} for any other number, too
  [[nodiscard]] std::int64_t as_int() const { return get<std::int64_t>("a 64-bit integer"); }
  /// Integers too, rounded to the nearest double beyond 2^53.
  [[nodiscard]] double as_double() const {
    return is_int() ? static_cast<double>(as_int()) : get<double>("a number");
  }
  /// @throws Error{format}
  [[nodiscard]] const std::string& as_string() const { return get<std::string>("a string"); }
  [[nodiscard]] const Array& items() const { return get<Array>("an array"); }       ///< @throws Error{format}
  [[nodiscard]] const Object& members() const { return get<Object>("an object"); }  ///< @throws Error{format}

  /// Number of items of an array or members of an object.
  [[nodiscard]] std::size_t size() const { return is_object() ? members().size() : items().size(); }
  /// @throws Error{format} past the end
  const Json& operator[](std::size_t index) const {
    if (index >= items().size()) {
      throw Error(ErrorCode::format, "JSON array", "more than " + std::to_string(index) + " items",
                  std::to_string(items().size()));
    }
    return items()[index];
  }
  /// Whether an object has such a key.
  [[nodiscard]] bool contains(std::string_view key) const { return find(key) != nullptr; }
  /// @throws Error{format} when there is no such key
  [[nodiscard]] const Json& at(std::string_view key) const {
    const Json* const value = find(key);
    if (value == nullptr) {
      throw Error(ErrorCode::format, "JSON object", "the key " + in_quotes(key),
                  std::to_string(size()) + " members without it");
    }
    return *value;
  }

  void push_back(Json item) { get<Array>("an array").push_back(std::move(item)); }  ///< adds to an array
  /// Adds a member, or replaces the one of that key; takes time linear in the members.
  void set(std::string_view key, Json value) {
    if (Json* const old = const_cast<Json*>(find(key)); old != nullptr) {
      *old = std::move(value);
    } else {
      get<Object>("an object").emplace_back(key, std::move(value));
    }
  }

  /// Of the same kind and value; members of objects in the same order.
  friend bool operator==(const Json& left, const Json& right) { return left.value_ == right.value_; }

 private:
  using Value = std::variant<std::monostate, bool, std::int64_t, double, std::string, Array, Object>;

  explicit Json(Value value) : value_(std::move(value)) {}

  template <class T>
  [[nodiscard]] bool is() const noexcept {
    return std::holds_alternative<T>(value_);
  }
  template <class T>
  [[nodiscard]] const T& get(const char* expected) const {
    static constexpr std::array kinds{
        "null",     "true or false", "an integer", "a number that is no 64-bit integer",
        "a string", "an array",      "an object"};
    if (!is<T>()) throw Error(ErrorCode::format, "JSON value", expected, kinds[value_.index()]);
    return *std::get_if<T>(&value_);
  }
  template <class T>
  [[nodiscard]] T& get(const char* expected) {
    return const_cast<T&>(std::as_const(*this).get<T>(expected));
  }
  [[nodiscard]] const Json* find(std::string_view key) const {
    const auto& all = members();
    const auto found =
        std::find_if(all.begin(), all.end(), [key](const auto& member) { return member.first == key; });
    return found == all.end() ? nullptr : &found->second;
  }

  Value value_;
};

namespace detail {

inline Json read_value(JsonScanner& scanner) {
  switch (scanner.peek()) {
    case '{': {
      Json::Object members;
      std::vector<std::size_t> key_bytes;
      scanner.object([&](std::string key, std::size_t byte) {
        key_bytes.push_back(byte);
        Json value = read_value(scanner);
        members.emplace_back(std::move(key), std::move(value));
      });
      std::vector<std::size_t> order(members.size());
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::sort(order.begin(), order.end(), [&members](std::size_t left, std::size_t right) {
        return std::pair{std::string_view{members[left].first}, left} <
               std::pair{std::string_view{members[right].first}, right};
      });
      for (std::size_t i = 1; i < order.size(); ++i) {
        if (members[order[i]].first == members[order[i - 1]].first) {
          scanner.fail(key_bytes[order[i]], "each key once", in_quotes(members[order[i]].first) + " again");
        }
      }
      return Json::object(std::move(members));
    }
    case '[': {
      Json::Array items;
      scanner.array([&] { items.push_back(read_value(scanner)); });
      return Json::array(std::move(items));
    }
    case '"':
      return scanner.string();
    case 't':
      if (scanner.take_word("true")) return true;
      break;
    case 'f':
      if (scanner.take_word("false")) return false;
      break;
    case 'n':
      if (scanner.take_word("null")) return {};
      break;
    case '-':
    case '0':
    case '1':
    case '2':
    case '3':
    case '4':
    case '5':
    case '6':
    case '7':
    case '8':
    case '9':
      return std::visit([](auto number) { return Json{number}; }, scanner.number());
    default:
      break;
  }
  scanner.refuse("a JSON value");
}

inline void append_string(std::string& text, std::string_view value) {
  constexpr std::string_view digits = "0123456789abcdef";
  text += '"';
  for (std::size_t at = 0; at < value.size();) {
    const std::size_t length = utf8_length(value.substr(at));
    if (length == 0)
      throw Error(ErrorCode::format, at_byte("JSON string", at), "UTF-8", in_quotes(value.substr(at, 1)));
    const char symbol = value[at];
    if (symbol == '"' || symbol == '\\') {
      (text += '\\') += symbol;
    } else if (static_cast<unsigned char>(symbol) < 0x20) {
      text += "\\u00";
      text += digits[static_cast<unsigned char>(symbol) >> 4];
      text += digits[static_cast<unsigned char>(symbol) & 15];
    } else {
      text += value.substr(at, length);
    }
    at += length;
  }
  text += '"';
}

template <class Number>
void append_number(std::string& text, Number value) {
  std::array<char, 32> digits{};
  text.append(digits.data(), std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr);
}

/// @param indent  spaces a level, 0 for all on one line
/// @param margin  spaces of the line the value begins on
inline void append_json(std::string& text, const Json& json, std::size_t indent, std::size_t margin) {
  const auto sequence = [&](char open, char close, const auto& elements, const auto& append_element) {
    text += open;
    for (std::size_t i = 0; i < elements.size(); ++i) {
      if (i > 0) text += ',';
      if (indent > 0) text.append("\n").append(margin + indent, ' ');
      append_element(elements[i]);
    }
    if (indent > 0 && !elements.empty()) text.append("\n").append(margin, ' ');
    text += close;
  };
  if (json.is_object()) {
    sequence('{', '}', json.members(), [&](const auto& member) {
      append_string(text, member.first);
      text += indent > 0 ? ": " : ":";
      append_json(text, member.second, indent, margin + indent);
    });
  } else if (json.is_array()) {
    sequence('[', ']', json.items(),
             [&](const Json& item) { append_json(text, item, indent, margin + indent); });
  } else if (json.is_string()) {
    append_string(text, json.as_string());
  } else if (json.is_int()) {
    append_number(text, json.as_int());
  } else if (json.is_number()) {
    if (!std::isfinite(json.as_double())) {
      throw Error(ErrorCode::numeric, "JSON number", "a finite value", std::to_string(json.as_double()));
    }
    append_number(text, json.as_double());
  } else {
    text += json.is_null() ? "null" : json.as_bool() ? "true" : "false";
  }
}

}  // namespace detail

/// Reads one JSON text: at most 64 levels deep, keys of an object all different, strings in UTF-8, and
/// numbers that a double holds. The tree takes at most some 60 times the text's memory ("[0,0,0]" while the
/// array grows), so that the size of the text is the bound to set for text from strangers.
/// @param place  where the text is from (a file, a field), for errors
/// @throws Error{format} naming the place and the byte
inline Json parse_json(std::string_view text, std::string_view place) {
  JsonScanner scanner{text, place};
  Json json = detail::read_value(scanner);
  scanner.finish();
  return json;
}

/// Writes JSON text: doubles with the fewest digits that read back as the same value, integers exact.
/// @param indent  spaces a level, 0 for everything on one line
/// @throws Error{numeric} for NaN and infinity, which JSON has not; Error{format} for text that is not UTF-8
inline std::string dump(const Json& json, std::size_t indent = 0) {
  std::string text;
  detail::append_json(text, json, indent, 0);
  return text;
}

}  // namespace culprit::io
