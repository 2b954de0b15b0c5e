// SPDX-License-Identifier: MIT
#include <span>
#include <string_view>
#include <vector>

#include "culprit/input_saliency.hpp"

namespace cu = culprit;

struct Positive {
  static constexpr std::string_view name = "positive";
  std::vector<cu::Index> operator()(const cu::Profile& profile, std::span<const cu::Index> candidates) const;
};

struct NoName {
  std::vector<cu::Index> operator()(const cu::Profile& profile, std::span<const cu::Index> candidates) const;
};

struct ReturnsMask {
  static constexpr std::string_view name = "positive";
  std::vector<bool> operator()(const cu::Profile& profile, std::span<const cu::Index> candidates) const;
};

struct Mutable {
  static constexpr std::string_view name = "positive";
  std::vector<cu::Index> operator()(const cu::Profile& profile, std::span<const cu::Index> candidates);
};

struct NoCandidates {
  static constexpr std::string_view name = "positive";
  std::vector<cu::Index> operator()(const cu::Profile& profile) const;
};

void use(cu::visit::ModelView& model, const cu::Sample& sample, const cu::Baseline& baseline) {
  const cu::Profiler<> profiler;
  const cu::distance::Cosine cosine;

  const cu::InputSaliency right{profiler, cosine, Positive{}};
  (void)right(model, sample, baseline).gradient;

  // error: culprit: a selection can be copied and assigned, and has a static string `name`
  const cu::InputSaliency no_name{profiler, cosine, NoName{}};
  (void)no_name(model, sample, baseline).gradient;

  // error: culprit: a selection returns a std::vector<Index> of unit numbers
  const cu::InputSaliency returns_mask{profiler, cosine, ReturnsMask{}};
  (void)returns_mask(model, sample, baseline).gradient;

  // error: culprit: a selection has a const operator()(const Profile& profile, std::span<const Index>
  // candidates)
  const cu::InputSaliency is_mutable{profiler, cosine, Mutable{}};
  (void)is_mutable(model, sample, baseline).gradient;

  // error: culprit: a selection has a const operator()(const Profile& profile, std::span<const Index>
  // candidates)
  const cu::InputSaliency no_candidates{profiler, cosine, NoCandidates{}};
  (void)no_candidates(model, sample, baseline).gradient;
}
