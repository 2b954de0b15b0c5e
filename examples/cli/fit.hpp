// SPDX-License-Identifier: MIT
#pragma once

#include "cli/options.hpp"

namespace culprit::cli {

void fit(const Options& options);

/// One baseline of the parts that fit wrote for the shards of one data set.
void merge_baselines(const Options& options);

}  // namespace culprit::cli
