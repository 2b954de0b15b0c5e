// SPDX-License-Identifier: MIT
#include <string_view>
#include <utility>
#include <vector>

#include "culprit/profiler.hpp"

namespace cu = culprit;

struct Excess {
  static constexpr std::string_view name = "excess";
  double operator()(double raw, const cu::UnitStatistics& unit) const;
};

struct NoName {
  double operator()(double raw, const cu::UnitStatistics& unit) const;
};

struct ReturnsFloat {
  static constexpr std::string_view name = "excess";
  float operator()(double raw, const cu::UnitStatistics& unit) const;
};

struct Mutable {
  static constexpr std::string_view name = "excess";
  double operator()(double raw, const cu::UnitStatistics& unit);
};

struct NoStatistics {
  static constexpr std::string_view name = "excess";
  double operator()(double raw) const;
};

void use(cu::visit::ModelView& model, const std::vector<std::pair<at::Tensor, at::Tensor>>& loader,
         const cu::Sample& sample) {
  const cu::Profiler right{cu::aggregate::MeanAbs{}, Excess{}};
  (void)right(model, sample, right.fit(model, loader)).top(10);

  // error: culprit: a standardization can be copied and assigned, and has a static string `name`
  const cu::Profiler no_name{cu::aggregate::MeanAbs{}, NoName{}};
  (void)no_name(model, sample, no_name.fit(model, loader)).top(10);

  // error: culprit: a standardization returns a double
  const cu::Profiler returns_float{cu::aggregate::MeanAbs{}, ReturnsFloat{}};
  (void)returns_float(model, sample, returns_float.fit(model, loader)).top(10);

  // error: culprit: a standardization has a const operator()(double raw, const UnitStatistics& unit)
  const cu::Profiler is_mutable{cu::aggregate::MeanAbs{}, Mutable{}};
  (void)is_mutable(model, sample, is_mutable.fit(model, loader)).top(10);

  // error: culprit: a standardization has a const operator()(double raw, const UnitStatistics& unit)
  const cu::Profiler no_statistics{cu::aggregate::MeanAbs{}, NoStatistics{}};
  (void)no_statistics(model, sample, no_statistics.fit(model, loader)).top(10);

  // The first two exchanged: what is wrong with each.
  // error: culprit: an aggregation has const members map(gradient), combine(a, b) and finish(total, size), or
  // a const operator()(gradients) on tensors
  // error: culprit: a standardization has a const operator()(double raw, const UnitStatistics& unit)
  const cu::Profiler exchanged{Excess{}, cu::aggregate::MeanAbs{}};
  (void)exchanged(model, sample, exchanged.fit(model, loader)).top(10);
}
