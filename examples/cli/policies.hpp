// SPDX-License-Identifier: MIT
#pragma once

#include <charconv>
#include <cstdint>
#include <functional>
#include <limits>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <ATen/core/grad_mode.h>
#include <Eigen/Core>
#include <torch/csrc/autograd/autograd.h>

#include "culprit/concepts.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/engine/batched.hpp"
#include "culprit/engine/loop.hpp"
#include "culprit/select/given.hpp"
#include "culprit/select/layer_range.hpp"
#include "culprit/select/random.hpp"
#include "culprit/select/top.hpp"
#include "culprit/visit/parameters.hpp"

// Policies that are chosen while the program runs: each holds one of its role.
namespace culprit::cli {

struct AnyStandardization {
  static constexpr std::string_view name = "any";

  template <DifferentiableStandardization S>
  static AnyStandardization of(const S& policy) {
    return {[policy](double raw, const UnitStatistics& unit) { return policy(raw, unit); },
            [policy](double raw, const UnitStatistics& unit) { return policy.derivative(raw, unit); },
            culprit::needs_quantiles(policy)};
  }

  double operator()(double raw, const UnitStatistics& unit) const { return value(raw, unit); }
  double derivative(double raw, const UnitStatistics& unit) const { return slope(raw, unit); }

  std::function<double(double, const UnitStatistics&)> value, slope;
  bool needs_quantiles = false;
};
static_assert(DifferentiableStandardization<AnyStandardization>);

struct AnyDistance {
  static constexpr std::string_view name = "any";
  using Vector = Eigen::VectorXd;

  template <DifferentiableDistance D>
  static AnyDistance of(const D& policy) {
    return {[policy](const Vector& a, const Vector& b) { return policy(a, b); },
            [policy](const Vector& a, const Vector& b) { return policy.gradient(a, b); }};
  }

  double operator()(const Vector& a, const Vector& b) const { return value(a, b); }
  [[nodiscard]] Vector gradient(const Vector& a, const Vector& b) const { return slope(a, b); }

  std::function<double(const Vector&, const Vector&)> value;
  std::function<Vector(const Vector&, const Vector&)> slope;
};
static_assert(DifferentiableDistance<AnyDistance>);

struct AnyLoss {
  static constexpr std::string_view name = "loss";
  using Function = std::function<at::Tensor(const at::Tensor&, const at::Tensor&)>;

  template <Loss L>
  static AnyLoss of(const L& loss) {
    return {[loss](const at::Tensor& o, const at::Tensor& t) { return loss(o, t); },
            [loss](const at::Tensor& o, const at::Tensor& t) { return loss.gradient(o, t); }, describe(loss)};
  }

  /// One whose gradient autograd finds.
  static AnyLoss of(const Function& loss, std::string text) {
    return {loss,
            [loss](const at::Tensor& outputs, const at::Tensor& targets) {
              const at::AutoGradMode with_grad(true);
              const bool kept = outputs.requires_grad();
              const at::Tensor at = kept ? outputs : outputs.clone().requires_grad_(true);
              return torch::autograd::grad({loss(at, targets).sum()}, {at}, {}, /*retain_graph=*/kept,
                                           /*create_graph=*/kept)[0];
            },
            std::move(text)};
  }

  at::Tensor operator()(const at::Tensor& outputs, const at::Tensor& targets) const {
    return value(outputs, targets);
  }
  [[nodiscard]] at::Tensor gradient(const at::Tensor& outputs, const at::Tensor& targets) const {
    return slope(outputs, targets);
  }
  [[nodiscard]] std::string description() const { return text; }

  Function value, slope;
  std::string text;
};
static_assert(Loss<AnyLoss>);

/// Batched falls back to Loop, so both are compiled in any case.
struct AnyEngine {
  bool one_by_one = false;
  engine::Batched batched{};

  template <Aggregation A, Loss L>
  [[nodiscard]] engine::BatchResult operator()(const visit::Plan& plan, const A& aggregation, const L& loss,
                                               const at::Tensor& inputs, const at::Tensor& targets) const {
    return one_by_one ? engine::Loop{}(plan, aggregation, loss, inputs, targets)
                      : batched(plan, aggregation, loss, inputs, targets);
  }

  template <DifferentiableAggregation A, Loss L>
  [[nodiscard]] engine::Vjp vjp(const visit::Plan& plan, const A& aggregation, const L& loss,
                                const at::Tensor& inputs, const at::Tensor& targets,
                                const engine::Cotangent& cotangent) const {
    return one_by_one ? engine::Loop{}.vjp(plan, aggregation, loss, inputs, targets, cotangent)
                      : batched.vjp(plan, aggregation, loss, inputs, targets, cotangent);
  }
};
static_assert(DifferentiableEngine<AnyEngine>);

struct AnySelection {
  static constexpr std::string_view name = "any";

  std::vector<Index> operator()(const Profile& profile, std::span<const Index> candidates) const {
    return select(profile, candidates);
  }

  std::function<std::vector<Index>(const Profile&, std::span<const Index>)> select;
};
static_assert(Selection<AnySelection>);

/// A visitor that gives a number of units.
using AnyVisitor = std::function<Index(at::IntArrayRef)>;
static_assert(Visitor<AnyVisitor>);

namespace detail {

inline std::optional<Index> whole_number(std::string_view text) {
  Index value = 0;
  const auto [end, failure] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (failure != std::errc{} || end != text.data() + text.size() || value < 0) return std::nullopt;
  return value;
}

/// The number behind a prefix such as "top:", if the text is that.
inline std::optional<Index> number_behind(std::string_view text, std::string_view prefix) {
  return text.starts_with(prefix) ? whole_number(text.substr(prefix.size())) : std::nullopt;
}

/// The unit of "LAYER:CHANNEL", with or without the layer's ".weight", or of its number.
inline Index unit_of(std::string_view item, const Units& units) {
  const auto refuse = [&](const std::string& expected) {
    return Error(ErrorCode::argument, "--filters", expected, "'" + std::string(item) + "'");
  };
  const std::size_t colon = item.rfind(':');
  const auto number = whole_number(item.substr(colon == std::string_view::npos ? 0 : colon + 1));
  if (!number) throw refuse("top:K, random:K, or LAYER:CHANNEL and numbers of units between commas");
  if (colon == std::string_view::npos) {
    if (*number >= units.size()) throw refuse("a unit below " + std::to_string(units.size()));
    return *number;
  }
  const Layer* const layer = units.find(item.substr(0, colon));
  if (layer == nullptr) throw refuse("the name of a layer with units before the colon");
  if (*number >= layer->count) throw refuse("a channel below " + std::to_string(layer->count));
  return layer->first + *number;
}

}  // namespace detail

/// Calls `use` with the policy of that name.
/// @throws Error (argument) when none has it
template <class... Policies, class Use>
[[nodiscard]] auto with_policy(std::string_view name, const Use& use) {
  decltype((use(Policies{}), ...)) result{};
  const bool known = ((Policies::name == name && (result = use(Policies{}), true)) || ...);
  if (known) return result;
  std::string names;
  ((names += (names.empty() ? "" : ", ") + std::string(Policies::name)), ...);
  throw Error(ErrorCode::argument, "policy", "one of " + names, "'" + std::string(name) + "'");
}

/// What a unit is: filters, neurons, weights (both), or heads:N.
/// @throws Error (argument) for none of these
[[nodiscard]] inline AnyVisitor visitor(std::string_view units) {
  const auto slices = [](const auto& holds) -> AnyVisitor {
    return [holds](at::IntArrayRef shape) { return holds(shape) ? shape.front() : 0; };
  };
  if (units == "filters") return slices(visit::ConvFilters{});
  if (units == "neurons") return slices(visit::LinearNeurons{});
  if (units == "weights") return slices(visit::AllWeights{});
  if (const auto heads = detail::number_behind(units, "heads:"); heads && *heads > 0)
    return visit::AttentionHeads{*heads};
  throw Error(ErrorCode::argument, "units", "filters, neurons, weights, or heads:N for attentions of N heads",
              "'" + std::string(units) + "'");
}

/// What --filters says: top:K, random:K (by --seed), or a list of units.
/// @throws Error (argument) naming the part that is none of these
[[nodiscard]] inline AnySelection selection(std::string_view text, const Units& units, std::uint64_t seed) {
  if (const auto count = detail::number_behind(text, "top:")) return {select::Top{.count = *count}};
  if (const auto count = detail::number_behind(text, "random:"))
    return {select::Random{.count = *count, .seed = seed}};
  select::Given given;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    given.units.push_back(detail::unit_of(text.substr(begin, end - begin), units));
    begin = end + 1;
  }
  return {given};
}

/// What --layers says: up-to:NAME, after:NAME, FIRST-LAST (numbers from 0), or a pattern of names.
[[nodiscard]] inline select::LayerRange layer_range(const std::string& text) {
  constexpr std::string_view up_to = "up-to:";
  constexpr std::string_view after = "after:";
  if (text.starts_with(up_to)) return {.up_to = text.substr(up_to.size())};
  if (text.starts_with(after)) return {.after = text.substr(after.size())};
  if (const std::size_t dash = text.find('-'); dash != std::string::npos) {
    const auto first = detail::whole_number(std::string_view(text).substr(0, dash));
    const auto last = detail::whole_number(std::string_view(text).substr(dash + 1));
    if (first && last) return {.first = *first, .end = *last + 1};
  }
  return {.pattern = text};
}

}  // namespace culprit::cli
