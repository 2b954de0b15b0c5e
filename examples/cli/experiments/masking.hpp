// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <vector>

#include <torch/types.h>

#include "cli/experiments/study.hpp"
#include "cli/options.hpp"
#include "cli/policies.hpp"
#include "culprit/heat_map.hpp"
#include "culprit/intervene/mask.hpp"
#include "data/loader.hpp"

namespace culprit::cli {

/// Mean z over a sample's chosen filters.
[[nodiscard]] inline double mean_of(const Profile& z, const std::vector<Index>& filters) {
  double sum = 0;
  for (const Index filter : filters) sum += z[filter];
  return sum / static_cast<double>(filters.size());
}

/// The samples of a batch before any of their pixels is replaced.
struct Before {
  torch::Tensor outputs;                    ///< [B, classes], on the CPU
  std::vector<std::vector<Index>> filters;  ///< to blame
  std::vector<double> saliency;             ///< mean z over them
  std::vector<torch::Tensor> pixels;        ///< how salient each is for them, [H, W], on the CPU
};

/// Which pixels of which sample are replaced: what the options say, and how it is done.
class Masking {
 public:
  explicit Masking(const Study& study)
      : study_(study),
        filters_(selection(study.options().filters, study.baseline().units(), study.seed())),
        shares_(study.options().shares) {
    std::ranges::sort(shares_);
    shares_.erase(std::unique(shares_.begin(), shares_.end()), shares_.end());
  }

  /// Ascending.
  [[nodiscard]] const std::vector<double>& shares() const { return shares_; }

  /// These samples as one batch.
  [[nodiscard]] data::Batch batch_of(const std::vector<std::size_t>& samples) const {
    const Options& options = study_.options();
    data::Loader loader(*study_.session().inputs().set, study_.session().inputs().preprocess,
                        {.batch = samples.size(), .dtype = dtype_of(options), .indices = samples});
    return *loader.begin();
  }

  /// @throws Error (argument) when --filters chooses none
  [[nodiscard]] Before look_at(const data::Batch& batch) const {
    const Session& session = study_.session();
    const engine::BatchResult result = session.profile(batch);
    const std::vector<Profile> z = study_.profiles(result);
    Before before{result.outputs.cpu(), {}, {}, {}};
    for (const InputGradient& one : session.input_saliency(batch, study_.baseline(), filters_)) {
      if (one.boosted.empty()) throw Error(ErrorCode::argument, "--filters", "at least one filter", "none");
      before.saliency.push_back(mean_of(z[before.filters.size()], one.boosted));
      before.filters.push_back(one.boosted);
      before.pixels.push_back(pixel_saliency(one.gradient).cpu());
    }
    return before;
  }

  /// @param share  number of the share @param repeat  of the random pixels
  [[nodiscard]] intervene::Mask mask(std::size_t sample, std::size_t share, intervene::Pixels pixels,
                                     std::size_t repeat) const {
    return {.share = shares_[share],
            .pixels = pixels,
            .keep = study_.session().box(sample),
            .seed = study_.seed_of(sample, repeat * shares_.size() + share)};
  }

  [[nodiscard]] data::Batch masked(const data::Batch& batch, const Before& before, std::size_t share,
                                   intervene::Pixels pixels, std::size_t repeat) const {
    std::vector<torch::Tensor> inputs;
    for (std::size_t i = 0; i < batch.indices.size(); ++i) {
      inputs.push_back(mask(batch.indices[i], share, pixels,
                            repeat)({batch.inputs[static_cast<Index>(i)], 0, {}, before.pixels[i]}));
    }
    return {torch::stack(inputs), batch.labels, batch.indices};
  }

 private:
  const Study& study_;
  AnySelection filters_;
  std::vector<double> shares_;
};

}  // namespace culprit::cli
