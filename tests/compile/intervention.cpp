// SPDX-License-Identifier: MIT
#include <string_view>

#include "culprit/intervene/scope.hpp"

namespace cu = culprit;
using cu::intervene::Subject;
using cu::intervene::Undo;
using cu::visit::Plan;

struct Negate {
  static constexpr std::string_view name = "negate";
  at::Tensor operator()(const Plan& plan, const Subject& subject, Undo& undo) const;
};

struct NoName {
  at::Tensor operator()(const Plan& plan, const Subject& subject, Undo& undo) const;
};

struct NoUndo {
  static constexpr std::string_view name = "negate";
  at::Tensor operator()(const Plan& plan, const Subject& subject) const;
};

struct Mutable {
  static constexpr std::string_view name = "negate";
  at::Tensor operator()(const Plan& plan, const Subject& subject, Undo& undo);
};

struct ReturnsNothing {
  static constexpr std::string_view name = "negate";
  void operator()(const Plan& plan, const Subject& subject, Undo& undo) const;
};

void use(const Plan& plan, const Subject& subject) {
  const cu::intervene::Scope right{Negate{}, plan, subject};

  // error: culprit: an intervention can be copied and assigned, and has a static string `name`
  const cu::intervene::Scope no_name{NoName{}, plan, subject};

  // error: culprit: an intervention has a const operator()(const visit::Plan& plan, const intervene::Subject&
  // subject, intervene::Undo& undo)
  const cu::intervene::Scope no_undo{NoUndo{}, plan, subject};

  // error: culprit: an intervention has a const operator()(const visit::Plan& plan, const intervene::Subject&
  // subject, intervene::Undo& undo)
  const cu::intervene::Scope is_mutable{Mutable{}, plan, subject};

  // error: culprit: an intervention returns an at::Tensor, the sample's input from then on
  const cu::intervene::Scope returns_nothing{ReturnsNothing{}, plan, subject};
}
