// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <charconv>
#include <concepts>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>
#include <vector>

#include "culprit/core/error.hpp"

namespace culprit::io {

/// Writes a table as RFC 4180 has it, but with lines that end in LF alone, which the Unix tools expect: a
/// header row, fields in quotes where they hold a comma, a quote or a line break. Floating-point numbers have
/// the fewest digits that read back as the same value of their type; NaN and infinity are nan and inf.
class CsvWriter {
 public:
  /// Writes the header row.
  CsvWriter(std::ostream& out, const std::vector<std::string>& columns)
      : out_(out), columns_(columns.size()) {
    for (const std::string& column : columns) field(column);
    end_row();
  }

  /// One row at once: numbers and strings.
  /// @throws Error{argument} when there are more or fewer values than columns
  template <class... Values>
  void row(const Values&... values) {
    (field(values), ...);
    end_row();
  }

  /// The next field of the row, for rows whose length only run time knows.
  template <class Value>
  requires std::convertible_to<const Value&, std::string_view>
  void field(const Value& value) {
    const std::string_view text{value};
    // A row of one empty field would else be an empty line, which readers skip.
    const bool plain = text.find_first_of(",\"\r\n") == text.npos && !(text.empty() && columns_ == 1);
    begin_field();
    if (plain) {
      out_ << text;
      return;
    }
    out_ << '"';
    for (const char symbol : text) {
      if (symbol == '"') out_ << '"';
      out_ << symbol;
    }
    out_ << '"';
  }
  /// A number, with the fewest digits that read back as the same one.
  template <class Number>
  requires((std::integral<Number> && !std::same_as<Number, bool> && !std::same_as<Number, char>) ||
           std::same_as<Number, float> || std::same_as<Number, double>) void field(Number value) {
    std::array<char, 32> digits{};
    const auto end = std::to_chars(digits.data(), digits.data() + digits.size(), value).ptr;
    begin_field();
    out_.write(digits.data(), end - digits.data());
  }

  /// @throws Error{argument} when the row has more or fewer fields than there are columns
  void end_row() {
    if (written_ != columns_) {
      throw Error(ErrorCode::argument, "CSV row", std::to_string(columns_) + " fields",
                  std::to_string(written_));
    }
    out_ << '\n';
    written_ = 0;
  }

 private:
  void begin_field() {
    if (written_++ > 0) out_ << ',';
  }

  std::ostream& out_;
  std::size_t columns_;
  std::size_t written_ = 0;
};

}  // namespace culprit::io
