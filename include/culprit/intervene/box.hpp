// SPDX-License-Identifier: MIT
#pragma once

#include "culprit/core/units.hpp"

namespace culprit::intervene {

/// Rows top to bottom and columns left to right, the last of each not included.
struct Box {
  Index top = 0, left = 0, bottom = 0, right = 0;
};

}  // namespace culprit::intervene
