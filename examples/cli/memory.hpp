// SPDX-License-Identifier: MIT
#pragma once

#include <fstream>
#include <optional>
#include <string>

namespace culprit::cli {

/// Bytes that can be had without swapping, as the kernel estimates them; nothing where it does not say.
[[nodiscard]] inline std::optional<double> available_memory() {
  std::ifstream file("/proc/meminfo");
  std::string name;
  double kibibytes = 0;
  std::string unit;
  while (file >> name >> kibibytes >> unit) {
    if (name == "MemAvailable:") return 1024 * kibibytes;
  }
  return std::nullopt;
}

}  // namespace culprit::cli
