// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <functional>
#include <optional>
#include <sstream>
#include <string>
#include <string_view>
#include <system_error>
#include <tuple>
#include <utility>
#include <vector>

#include <CLI/CLI.hpp>

#include "models/zoo.hpp"

// What the values of options may be.
namespace culprit::cli {

inline std::string joined(const std::vector<std::string>& names, std::string_view separator) {
  std::string text;
  for (const std::string& name : names) text += (text.empty() ? "" : std::string(separator)) + name;
  return text;
}

inline std::vector<std::string> model_names() {
  std::vector<std::string> names;
  for (const auto& architecture : zoo::architectures) names.emplace_back(architecture.name);
  return names;
}

inline CLI::Validator checked(const std::string& expected,
                              const std::function<bool(const std::string&)>& accepts) {
  return CLI::Validator(
      [=](const std::string& text) {
        return accepts(text) ? std::string() : "expected " + expected + ", came '" + text + "'";
      },
      std::string());
}

inline bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

inline CLI::Validator one_of(const std::vector<std::string>& names) {
  return checked("one of " + joined(names, ", "),
                 [=](const std::string& text) { return contains(names, text); });
}

inline bool is_index(const std::string& text) {
  return !text.empty() && text.size() <= 9 && std::all_of(text.begin(), text.end(), [](unsigned char symbol) {
    return std::isdigit(symbol) != 0;
  });
}

inline const CLI::Validator whole_number = checked("a whole number from 0", is_index);

inline bool is_above_zero(const std::string& text) {
  return is_index(text) && text.find_first_not_of('0') != std::string::npos;
}

inline const CLI::Validator above_zero = checked("a whole number from 1", is_above_zero);

/// The finite number that the whole text is.
inline std::optional<double> number(const std::string& text) {
  double value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || !std::isfinite(value))
    return std::nullopt;
  return value;
}

inline const CLI::Validator number_from_0 = checked("a number from 0", [](const std::string& text) {
  const std::optional<double> value = number(text);
  return value && *value >= 0;
});

inline const CLI::Validator number_above_0 = checked("a number above 0", [](const std::string& text) {
  const std::optional<double> value = number(text);
  return value && *value > 0;
});

inline const CLI::Validator share_of_pixels =
    checked("a share of all pixels, above 0 and up to 1", [](const std::string& text) {
      const std::optional<double> value = number(text);
      return value && *value > 0 && *value <= 1;
    });

inline const CLI::Validator data_spec =
    checked("folder:DIR, cifar10:DIR, idx:DIR or list:FILE", [](const std::string& text) {
      const std::string kind = text.substr(0, text.find(':'));
      return contains({"folder", "cifar10", "idx", "list"}, kind) && text.size() > kind.size() + 1;
    });

inline const CLI::Validator model_spec =
    checked("FILE.pt, or NAME:WEIGHTS.safetensors with NAME one of " + joined(model_names(), ", "),
            [](const std::string& text) {
              const std::string name = text.substr(0, text.find(':'));
              const bool known = contains(model_names(), name) && text.size() > name.size() + 1;
              return known || text.ends_with(".pt") || text.ends_with(".pth");
            });

inline const CLI::Validator target_spec =
    checked("label, predicted or a class index",
            [](const std::string& text) { return text == "label" || text == "predicted" || is_index(text); });

inline const CLI::Validator units_spec =
    checked("filters, neurons, weights, or heads:N for attentions of N heads", [](const std::string& text) {
      constexpr std::string_view heads = "heads:";
      return contains({"filters", "neurons", "weights"}, text) ||
             (text.starts_with(heads) && is_above_zero(text.substr(heads.size())));
    });

inline const CLI::Validator query_spec =
    checked("wrong:N, or numbers of samples between commas", [](const std::string& text) {
      constexpr std::string_view wrong = "wrong:";
      if (text.starts_with(wrong)) return is_above_zero(text.substr(wrong.size()));
      std::istringstream items(text + ',');
      for (std::string item; std::getline(items, item, ',');) {
        if (!is_index(item)) return false;
      }
      return true;
    });

inline const CLI::Validator device_spec = checked("cpu, cuda or cuda:N", [](const std::string& text) {
  return text == "cpu" || text == "cuda" ||
         (text.starts_with("cuda:") && is_index(text.substr(5)) && text.size() < 8);
});

/// I and N of "I/N".
inline std::optional<std::pair<std::size_t, std::size_t>> shard_of(const std::string& text) {
  const std::size_t slash = std::min(text.find('/'), text.size());
  const std::string shard = text.substr(0, slash), shards = text.substr(std::min(slash + 1, text.size()));
  if (!is_index(shard) || !is_above_zero(shards) || std::stoul(shard) >= std::stoul(shards))
    return std::nullopt;
  return std::pair(std::stoul(shard), std::stoul(shards));
}

inline const CLI::Validator shard_spec =
    checked("I/N with I from 0 to N - 1", [](const std::string& text) { return shard_of(text).has_value(); });

}  // namespace culprit::cli
