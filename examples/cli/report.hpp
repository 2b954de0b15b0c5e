// SPDX-License-Identifier: MIT
#pragma once

#include "cli/options.hpp"

namespace culprit::cli {

/// Makes one page of what explain and the experiments wrote.
/// @throws Error naming a file that is missing, or is none of theirs
void report(const Options& options);

}  // namespace culprit::cli
