// SPDX-License-Identifier: MIT
#pragma once

#include <memory>
#include <string>

#include <ATen/core/Tensor.h>

#include "cli/options.hpp"
#include "culprit/core/baseline.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/engine/engine.hpp"
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
  [[nodiscard]] virtual Profile standardize(const Profile& raw, const Baseline& baseline) const = 0;
};

/// The method that --target, --aggregate, --engine and --standardize name.
[[nodiscard]] std::unique_ptr<const Method> make_method(const Options& options);

}  // namespace culprit::cli
