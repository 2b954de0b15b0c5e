// SPDX-License-Identifier: MIT
//
// A unit of its own: each combination of aggregation, engine and loss is another engine to compile.
#include "cli/method.hpp"

#include <functional>
#include <string_view>
#include <utility>

#include "culprit/aggregate/aggregate.hpp"
#include "culprit/engine/batched.hpp"
#include "culprit/engine/loop.hpp"
#include "culprit/loss/loss.hpp"
#include "culprit/profiler.hpp"
#include "culprit/standardize/standardize.hpp"

namespace culprit::cli {

namespace {

using Standardize = std::function<Profile(const Profile&, const Baseline&)>;

template <class P>
class ProfilerMethod final : public Method {
 public:
  ProfilerMethod(P profiler, Standardize standardize)
      : profiler_(std::move(profiler)), standardize_(std::move(standardize)) {}

  [[nodiscard]] visit::Plan plan(const visit::ModelView& model) const override {
    return profiler_.plan(model);
  }
  [[nodiscard]] Fingerprint fingerprint(const visit::Plan& plan, std::string preprocessing) const override {
    return profiler_.fingerprint(plan, std::move(preprocessing));
  }
  [[nodiscard]] engine::BatchResult batch(const visit::Plan& plan, const at::Tensor& inputs,
                                          const at::Tensor& targets) const override {
    return profiler_.batch(plan, inputs, targets);
  }
  [[nodiscard]] Profile standardize(const Profile& raw, const Baseline& baseline) const override {
    return standardize_(raw, baseline);
  }

 private:
  P profiler_;
  Standardize standardize_;
};

/// Calls `use` with the policy of that name.
/// @throws Error (argument) when none has it
template <class... Policies, class Use>
auto with_policy(std::string_view name, const Use& use) {
  decltype((use(Policies{}), ...)) result{};
  const bool known = ((Policies::name == name && (result = use(Policies{}), true)) || ...);
  if (!known) throw Error(ErrorCode::argument, "policy", "a known name", std::string(name));
  return result;
}

template <class A, class E, class L>
std::unique_ptr<const Method> compose(A aggregation, E engine, L loss, Standardize standardize) {
  Profiler profiler(aggregation, standardize::ZScore{}, visit::ConvFilters{}, engine, std::move(loss));
  return std::make_unique<ProfilerMethod<decltype(profiler)>>(std::move(profiler), std::move(standardize));
}

}  // namespace

std::unique_ptr<const Method> make_method(const Options& options) {
  const auto standardize = with_policy<standardize::ZScore, standardize::MeanRatio, standardize::Identity>(
      options.standardize, [](auto standardization) -> Standardize {
        return
            [profiler = Profiler(aggregate::MeanAbs{}, standardization)](
                const Profile& raw, const Baseline& baseline) { return profiler.standardize(raw, baseline); };
      });
  return with_policy<aggregate::MeanAbs, aggregate::Mean, aggregate::L2Norm, aggregate::MaxAbs,
                     aggregate::ParameterWise>(
      options.aggregate, [&](auto aggregation) -> std::unique_ptr<const Method> {
        const auto with_loss = [&](auto loss) {
          return options.engine == "loop"
                     ? compose(aggregation, engine::Loop{}, std::move(loss), standardize)
                     : compose(aggregation, engine::Batched{}, std::move(loss), standardize);
        };
        if (options.target == "label") return with_loss(loss::CrossEntropy{});
        if (options.target == "predicted") return with_loss(loss::AtTarget<loss::PredictedClass>{});
        return with_loss(loss::AtTarget<loss::GivenClass>{{std::stoll(options.target)}, {}});
      });
}

}  // namespace culprit::cli
