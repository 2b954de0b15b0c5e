// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <vector>

#include <ATen/ops/cat.h>

#include "cli/experiments/study.hpp"
#include "culprit/core/profile_rows.hpp"

namespace culprit::cli {

/// All samples that the model gets wrong, in memory.
struct Mistakes {
  std::vector<Verdict> verdicts;
  std::vector<Profile> profiles;  ///< standardized
  torch::Tensor outputs;          ///< [N, classes]

  explicit Mistakes(const Study& study) {
    const Session& session = study.session();
    const std::vector<std::size_t> samples = study.mistakes();
    Stage stage = study.stage("profiles", "profile", samples.size());
    for (const data::Batch& batch : session.loader(stage.left_of(samples))) {
      const engine::BatchResult result = session.profile(batch);
      std::vector<torch::Tensor> z;
      for (const Profile& profile : study.profiles(result)) z.push_back(as_tensor(profile));
      stage.put(at::cat({torch::stack(z), result.outputs.cpu().to(torch::kFloat64),
                         batch.labels.unsqueeze(1).to(torch::kFloat64)},
                        1));
    }
    const std::vector<torch::Tensor> columns =
        stage.all().split_with_sizes({session.units().size(), session.classes(), 1}, 1);
    const RowMatrix z = to_matrix(columns[0]);
    outputs = columns[1].to(dtype_of(study.options()));
    const torch::Tensor predicted = outputs.argmax(1);
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const auto row = static_cast<Index>(i);
      profiles.emplace_back(session.shared_units(), row_of(z, row));
      verdicts.push_back(
          {samples[i], columns[2][row][0].to(torch::kLong).item<Index>(), predicted[row].item<Index>()});
    }
  }

  /// [N, channels, height, width]
  [[nodiscard]] torch::Tensor inputs(const Study& study) const {
    std::vector<torch::Tensor> all;
    for (const data::Batch& batch : study.session().loader(study.mistakes())) all.push_back(batch.inputs);
    return at::cat(all);
  }

  /// The profiles as rows to search, valid as long as this is.
  [[nodiscard]] ProfileRows rows() const {
    ProfileRows rows(profiles.front().shared_units());
    for (const Profile& profile : profiles) rows.append(profile);
    return rows;
  }
};

}  // namespace culprit::cli
