// SPDX-License-Identifier: MIT
#pragma once

#include <string>

#include <torch/types.h>

#include "cli/outputs.hpp"
#include "cli/text.hpp"
#include "culprit/core/units.hpp"
#include "data/loader.hpp"

// What commands say at their end.
namespace culprit::cli {

[[nodiscard]] inline std::string percent(Index part, Index whole) {
  return formatted("%.2f %%", 100.0 * static_cast<double>(part) / static_cast<double>(whole));
}

/// @param seconds  for all that the loader gave
inline void print_speed(const std::string& name, double seconds, const data::Loader& loader) {
  const std::size_t samples = loader.size();
  print_row(name, std::to_string(samples) + " samples in " + formatted("%.1f s", seconds) + ", " +
                      formatted("%.0f images/s", static_cast<double>(samples) / seconds) + "; " +
                      formatted("%.1f s", loader.wait_seconds()) + " of it waiting for pictures to be read");
}

[[nodiscard]] inline Index count_right(const torch::Tensor& outputs, const torch::Tensor& labels) {
  return outputs.argmax(1).cpu().eq(labels).sum().item<Index>();
}

}  // namespace culprit::cli
