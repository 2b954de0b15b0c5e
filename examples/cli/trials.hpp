// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include <torch/types.h>

#include "culprit/core/order.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/intervene/fine_tune.hpp"
#include "culprit/intervene/prune.hpp"
#include "culprit/intervene/scope.hpp"
#include "culprit/io/json.hpp"
#include "data/classes.hpp"

namespace culprit::cli {

/// What the model says of one sample once some of its filters are changed.
struct Trial {
  std::string intervention;  ///< "prune" or "fine_tune"
  std::string selection;     ///< which filters: "most" salient or "random"
  Index k = 0;               ///< how many
  double eta = 0;            ///< length of the step, for fine_tune
  Index prediction = 0;
  double predicted_confidence = 0;  ///< in the class that was predicted before, a share of 1
  double true_confidence = 0;
};

/// Steps that are tried, from the shortest on, until one corrects the sample.
inline constexpr double shortest_step = 1e-3;
inline constexpr double longest_step = 10;

/// Switches a sample's 1, 2, 5 and 10 most salient filters off, and 10 random ones. Where the model is wrong
/// it then nudges the 10 by the shortest of 0.001, 0.002, 0.004, ... that corrects the sample, and the random
/// ones by as much; nothing where none below 10 does.
/// @param input  [C, H, W], on the model's device @param z  the sample's standardized profile
inline std::vector<Trial> try_changes(const visit::Plan& plan, const torch::Tensor& input, Index label,
                                      Index prediction, const Profile& z, std::uint64_t seed) {
  const std::vector<Index> everything = first_indices(z.size());
  const std::vector<Index> ranking = z.ranked(everything, z.size(), Order::largest_first);
  std::vector<Trial> trials;
  const auto attempt = [&](const auto& intervention, const std::string& selection, Index k) {
    const std::vector<Index> units = selection == "most"
                                         ? std::vector<Index>(ranking.begin(), ranking.begin() + k)
                                         : drawn(everything, k, seed);
    const intervene::Scope scope(intervention, plan, {input, label, units});
    const torch::Tensor confidences = scope.outputs().cpu().to(torch::kFloat64).softmax(0);
    return Trial{.intervention = std::string(intervention.name),
                 .selection = selection,
                 .k = k,
                 .prediction = confidences.argmax().item<Index>(),
                 .predicted_confidence = confidences[prediction].item<double>(),
                 .true_confidence = confidences[label].item<double>()};
  };
  const Index most = std::min<Index>(10, z.size());
  for (const Index k : {1, 2, 5, 10}) {
    if (k <= most) trials.push_back(attempt(intervene::Prune{}, "most", k));
  }
  trials.push_back(attempt(intervene::Prune{}, "random", most));
  if (label == prediction) return trials;
  for (double eta = shortest_step; eta < longest_step; eta *= 2) {
    const auto step = [&](const std::string& selection) {
      Trial trial = attempt(intervene::FineTune<>{.eta = eta, .loss = {}}, selection, most);
      trial.eta = eta;
      return trial;
    };
    Trial trial = step("most");
    if (trial.prediction != label) continue;
    trials.push_back(std::move(trial));
    trials.push_back(step("random"));
    break;
  }
  return trials;
}

inline io::Json to_json(const std::vector<Trial>& trials, const data::Classes& names) {
  io::Json::Array all;
  for (const Trial& trial : trials) {
    all.push_back(io::Json::object({{"intervention", trial.intervention},
                                    {"selection", trial.selection},
                                    {"k", trial.k},
                                    {"eta", trial.eta},
                                    {"predicted_confidence", trial.predicted_confidence},
                                    {"true_confidence", trial.true_confidence},
                                    {"prediction", trial.prediction},
                                    {"prediction_name", names.name(trial.prediction)}}));
  }
  return io::Json::array(std::move(all));
}

}  // namespace culprit::cli
