// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <cstdlib>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "culprit/core/error.hpp"
#include "figures/markup.hpp"

namespace culprit::figures {

/// Refuses NaN and infinity. @throws Error (numeric) with that place
inline void check_finite(double value, const std::string& place) {
  if (!std::isfinite(value)) {
    throw Error(ErrorCode::numeric, place, "a finite value", std::isnan(value) ? "NaN" : "infinity");
  }
}

/// Refuses a list of another length, and in it NaN and infinity.
/// @param name_of  what the value at an index is of
/// @throws Error (shape) with that place, (numeric) with the value's name too
template <class NameOf>
void check_values(const std::string& place, std::span<const double> values, std::size_t count,
                  const NameOf& name_of) {
  if (values.size() != count) {
    throw Error(ErrorCode::shape, place, std::to_string(count) + " values", std::to_string(values.size()));
  }
  for (std::size_t i = 0; i < count; ++i) {
    if (!std::isfinite(values[i])) check_finite(values[i], place + ", " + name_of(i));
  }
}

/// The number with a typographic minus.
inline std::string with_minus(std::string number) {
  return number.starts_with('-') ? "−" + number.substr(1) : number;
}

/// 10 to that power, as text: "10⁻³" for -3.
inline std::string power_of_ten(int exponent) {
  constexpr std::array<std::string_view, 10> digits{"⁰", "¹", "²", "³", "⁴", "⁵", "⁶", "⁷", "⁸", "⁹"};
  std::string text = exponent < 0 ? "10⁻" : "10";
  for (const char digit : std::to_string(std::abs(exponent)))
    text += digits[static_cast<std::size_t>(digit - '0')];
  return text;
}

/// A finite number for people: two decimals, or "1.23 × 10⁻⁵" where these would say little.
inline std::string readable(double value) {
  const double size = std::abs(value);
  if (size == 0 || (size >= 0.01 && size < 10000)) {
    std::string text = fixed(value, 2);
    const std::size_t dot = text.find('.');
    if (dot == std::string::npos) {
      text += ".00";
    } else if (text.size() - dot == 2) {
      text += '0';
    }
    return with_minus(text);
  }
  std::array<char, 32> buffer{};
  const auto end =
      std::to_chars(buffer.data(), buffer.data() + buffer.size(), value, std::chars_format::scientific, 2);
  const std::string text(buffer.data(), end.ptr);
  const std::size_t e = text.find('e');
  return with_minus(text.substr(0, e)) + " × " + power_of_ten(std::stoi(text.substr(e + 1)));
}

/// A share of 1 in per cent. What is not certain is not called 0 or 100 per cent.
inline std::string percent(double share) {
  if (share > 0 && share < 0.001) return "< 0.1 %";
  if (share < 1 && share > 0.999) return "> 99.9 %";
  return fixed(100 * share, 1) + " %";
}

/// One labelled position of a value axis.
struct Tick {
  double value;
  std::string label;
};

/// The vertical scale of a figure: values to pixels, ticks, and the factor its labels leave out.
class ValueAxis {
 public:
  /// Linear: the range always holds 0. Logarithmic: whole decades; values at or below the lowest are drawn
  /// there.
  /// @param low, high    the finite ends of the data
  /// @param top, bottom  pixels
  /// @throws Error (argument) for a logarithmic axis without a value above 0, (numeric) when high - low
  /// overflows
  static ValueAxis linear(double low, double high, double top, double bottom) {
    low = std::min(low, 0.0);
    high = std::max(high, 0.0);
    if (high - low < 1e-300) high = 1;
    if (high - low > 1e300) {
      throw Error(ErrorCode::numeric, "value axis", "values at most 1e300 apart",
                  readable(low) + " to " + readable(high));
    }
    const double headroom = 0.04 * (high - low);
    ValueAxis axis{false, low < 0 ? low - headroom : low, high > 0 ? high + headroom : high, top, bottom};
    axis.place_linear_ticks();
    return axis;
  }

  /// @param smallest  the smallest value above 0; at most six decades below `high` are shown
  static ValueAxis logarithmic(double smallest, double high, double top, double bottom) {
    if (!(high > 0)) {
      throw Error(ErrorCode::argument, "logarithmic value axis", "a value above 0", "none");
    }
    const double last = std::ceil(std::log10(high) + 0.02);
    const double first = std::max(std::floor(std::log10(smallest)), last - 6);
    ValueAxis axis{true, std::min(first, last - 1), last, top, bottom};
    for (double decade = axis.low_; decade <= last; ++decade) {
      const int exponent = static_cast<int>(decade);
      axis.ticks_.push_back({std::pow(10.0, exponent), power_of_ten(exponent)});
    }
    return axis;
  }

  [[nodiscard]] double y(double value) const {
    const double place = !logarithmic_ ? value : value > 0 ? std::max(std::log10(value), low_) : low_;
    return bottom_ - (place - low_) / (high_ - low_) * (bottom_ - top_);
  }

  [[nodiscard]] const std::vector<Tick>& ticks() const { return ticks_; }

  /// " (× 10⁻³)" when the labels are to be multiplied by that, empty otherwise.
  [[nodiscard]] const std::string& factor() const { return factor_; }

  /// Where curves start from: 0, or the lowest decade.
  [[nodiscard]] double base() const { return logarithmic_ ? std::pow(10.0, low_) : 0; }

 private:
  ValueAxis(bool logarithmic, double low, double high, double top, double bottom)
      : logarithmic_(logarithmic), low_(low), high_(high), top_(top), bottom_(bottom) {}

  void place_linear_ticks() {
    const double rough = (high_ - low_) / std::max(2.0, (bottom_ - top_) / 48);
    const double decade = std::pow(10.0, std::floor(std::log10(rough)));
    const double ratio = rough / decade;
    const double step = decade * (ratio <= 1.5 ? 1 : ratio <= 3 ? 2 : ratio <= 7 ? 5 : 10);

    const double furthest = step * std::floor(std::max(high_, -low_) / step);
    const int largest = static_cast<int>(std::floor(std::log10(furthest) + 1e-9));
    const int exponent = largest < -2 || largest > 3 ? largest : 0;
    if (exponent != 0) factor_ = " (× " + power_of_ten(exponent) + ")";
    const double unit = std::pow(10.0, exponent);
    const int decimals = std::max(0, -static_cast<int>(std::floor(std::log10(step / unit) + 1e-9)));
    for (double i = std::ceil(low_ / step); i * step <= high_; ++i) {
      ticks_.push_back({i * step, with_minus(fixed(i * (step / unit), decimals))});
    }
  }

  bool logarithmic_;
  double low_, high_, top_, bottom_;
  std::vector<Tick> ticks_;
  std::string factor_;
};

}  // namespace culprit::figures
