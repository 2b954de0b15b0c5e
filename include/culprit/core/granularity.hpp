// SPDX-License-Identifier: MIT
#pragma once

namespace culprit {

/// How many numbers an aggregation gives for one parameter tensor.
enum class Granularity {
  filter,     ///< one for each slice along dimension 0
  tensor,     ///< one for the whole tensor
  parameter,  ///< one for each element
};

}  // namespace culprit
