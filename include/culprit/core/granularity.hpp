// SPDX-License-Identifier: MIT
#pragma once

namespace culprit {

/// How many numbers an aggregation gives for one parameter tensor.
enum class Granularity {
  filter,     ///< one for each slice along dimension 0, or each of the units that the visitor makes of them
  tensor,     ///< one for the whole tensor
  parameter,  ///< one for each element
};

}  // namespace culprit
