// SPDX-License-Identifier: MIT
#pragma once

#include <string>
#include <vector>

#include "cli/experiments/study.hpp"
#include "cli/options.hpp"

namespace culprit::cli {

/// Runs the experiment that the options name and writes its results.
void experiment(const Options& options);

// One for each name; each gives back what is to be written.
[[nodiscard]] Results correctness_experiment(const Study& study);
[[nodiscard]] Results finetune_experiment(const Study& study);
[[nodiscard]] Results neighbors_experiment(const Study& study);
[[nodiscard]] Results prune_experiment(const Study& study);
[[nodiscard]] Results mask_experiment(const Study& study);

}  // namespace culprit::cli
