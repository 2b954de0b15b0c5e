// SPDX-License-Identifier: MIT
#pragma once

#include <string_view>

namespace culprit {

/// The library's version, as in the package's; CMakeLists.txt reads it from this line.
inline constexpr std::string_view version = "0.1.0";

}  // namespace culprit
