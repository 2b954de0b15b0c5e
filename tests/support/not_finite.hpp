// SPDX-License-Identifier: MIT
#pragma once

#include <limits>

namespace culprit::test {

inline constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();
inline constexpr double infinity = std::numeric_limits<double>::infinity();

}  // namespace culprit::test
