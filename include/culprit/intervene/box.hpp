// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/core/units.hpp"

namespace culprit::intervene {

/// Rows top to bottom and columns left to right, the last of each not included.
struct Box {
  Index top = 0;     ///< first row
  Index left = 0;    ///< first column
  Index bottom = 0;  ///< one past the last row
  Index right = 0;   ///< one past the last column
};

}  // namespace culprit::intervene
