// SPDX-License-Identifier: MIT
#pragma once

#include "cli/options.hpp"

namespace culprit::cli {

/// culprit explain: the filters to blame for single samples, and the pixels that drive them.
/// @throws Error, or what LibTorch and the standard library throw
void explain(const Options& options);

}  // namespace culprit::cli
