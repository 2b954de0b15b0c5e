// SPDX-License-Identifier: MIT
#pragma once

#include "cli/options.hpp"

namespace culprit::cli {

/// Writes the profiles of samples, into one file or a store.
void profile(const Options& options);

/// One file of the profiles that profile wrote for the shards of one data set.
void merge_profiles(const Options& options);

}  // namespace culprit::cli
