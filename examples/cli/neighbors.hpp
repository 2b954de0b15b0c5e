// SPDX-License-Identifier: MIT
#pragma once

#include "cli/options.hpp"

namespace culprit::cli {

/// culprit neighbors: the samples whose profiles are the most similar.
/// @throws Error, or what the standard library throws
void neighbors(const Options& options);

}  // namespace culprit::cli
