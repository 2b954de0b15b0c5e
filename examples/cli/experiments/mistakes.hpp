// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include <ATen/ops/cat.h>

#include "cli/experiments/study.hpp"
#include "culprit/core/profile_rows.hpp"

namespace culprit::cli {

/// All samples that the model gets wrong, in memory: [N, ...] of each.
struct Mistakes {
  std::vector<Verdict> verdicts;
  std::vector<Profile> profiles;  ///< standardized
  torch::Tensor inputs, outputs;

  explicit Mistakes(const Study& study) {
    const std::vector<std::size_t> samples = study.mistakes();
    data::Loader loader = study.session().loader(samples);
    std::vector<torch::Tensor> all_inputs, all_outputs;
    Progress progress("profile", samples.size());
    for (const data::Batch& batch : loader) {
      const engine::BatchResult result = study.session().profile(batch);
      const torch::Tensor predicted = result.outputs.argmax(1).cpu();
      for (Index i = 0; i < batch.labels.size(0); ++i) {
        verdicts.push_back({batch.indices[static_cast<std::size_t>(i)], batch.labels[i].item<Index>(),
                            predicted[i].item<Index>()});
      }
      for (Profile& z : study.profiles(result)) profiles.push_back(std::move(z));
      all_inputs.push_back(batch.inputs);
      all_outputs.push_back(result.outputs.cpu());
      progress.update(profiles.size());
    }
    inputs = at::cat(all_inputs);
    outputs = at::cat(all_outputs);
  }

  /// The profiles as rows to search, valid as long as this is.
  [[nodiscard]] ProfileRows rows() const {
    ProfileRows rows(profiles.front().shared_units());
    for (const Profile& profile : profiles) rows.append(profile);
    return rows;
  }
};

}  // namespace culprit::cli
