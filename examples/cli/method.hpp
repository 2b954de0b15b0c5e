// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>
#include <vector>

#include <ATen/core/Tensor.h>

#include "cli/options.hpp"
#include "cli/policies.hpp"
#include "culprit/core/baseline.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/engine/engine.hpp"
#include "culprit/input_saliency.hpp"
#include "culprit/visit/plan.hpp"

namespace culprit::cli {

/// A Profiler whose policies are chosen while the program runs; each member is Profiler's of the same name.
class Method {
 public:
  Method() = default;
  Method(const Method&) = delete;
  Method& operator=(const Method&) = delete;
  virtual ~Method() = default;

  [[nodiscard]] virtual visit::Plan plan(const visit::ModelView& model) const = 0;
  [[nodiscard]] virtual Fingerprint fingerprint(const visit::Plan& plan, std::string preprocessing) const = 0;
  [[nodiscard]] virtual engine::BatchResult batch(const visit::Plan& plan, const at::Tensor& inputs,
                                                  const at::Tensor& targets) const = 0;
  [[nodiscard]] virtual engine::BatchResult batch_as_is(const visit::Plan& plan, const at::Tensor& inputs,
                                                        const at::Tensor& targets) const = 0;
  [[nodiscard]] virtual Profile standardize(const Profile& raw, const Baseline& baseline) const = 0;
  [[nodiscard]] virtual bool needs_quantiles() const = 0;

  /// InputSaliency::batch with that selection, and what --distance, --boost and --noise-... say.
  [[nodiscard]] virtual std::vector<InputGradient> input_saliency(const visit::Plan& plan,
                                                                  const at::Tensor& inputs,
                                                                  const at::Tensor& targets,
                                                                  const Baseline& baseline,
                                                                  const AnySelection& selection) const = 0;
};

/// Threads that compute a batch each, or a share of one.
[[nodiscard]] Index workers(const Options& options);

/// The method that the options name.
[[nodiscard]] std::unique_ptr<const Method> make_method(const Options& options);

}  // namespace culprit::cli
