// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/impl/LocalDispatchKeySet.h>
#include <c10/util/ThreadLocalDebugInfo.h>
#include <torch/library.h>

namespace culprit::visit {

/// One application of an observed parameter to an input.
struct ParameterUse {
  /// What the operator does.
  enum class Kind {
    convolution,  ///< y = conv(x, w): x [B, C, ...], w as ATen stores it (transposed: [C, O / groups, ...])
    linear,       ///< y = x w^T: x [..., in], w [out, in]
    embedding,    ///< y = w[x]: x [...] integers, w [rows, out]
  };
  Kind kind;                           ///< what the operator does
  std::size_t parameter;               ///< index into the observed parameters
  at::Tensor input;                    ///< x
  at::Tensor bias;                     ///< undefined: none
  std::vector<std::int64_t> stride;    ///< convolution only, one entry for each spatial dimension
  std::vector<std::int64_t> padding;   ///< as many
  std::vector<std::int64_t> dilation;  ///< as many
  bool transposed = false;             ///< a transposed convolution
  std::int64_t groups = 1;             ///< of a convolution
  std::int64_t padding_row = -1;       ///< of an embedding's weight, whose gradient is 0; negative: none
};

/// One application of a batch norm; what it does not have is undefined.
struct BatchNormUse {
  at::Tensor input;               ///< [B, C, ...]
  at::Tensor scale;               ///< [C]
  at::Tensor shift;               ///< [C]
  at::Tensor running_mean;        ///< [C]
  at::Tensor running_variance;    ///< [C]
  bool batch_statistics = false;  ///< of the input instead of the running ones
  double epsilon = 0.0;           ///< added to the variance
};

/// Sees the operators of a forward pass that take observed parameters, in eager and TorchScript models alike.
///
/// Works below every front end: a boxed fallback on the otherwise unused dispatch key
/// TESTING_ONLY_GenericWrapper, switched on for the scope of observe() on the calling thread only. State
/// lives in a slot that libc10 owns, so that several shared objects with their own copy of this header share
/// one registration.
class OperatorObserver : public c10::DebugInfoBase {
 public:
  /// @param parameters  whose uses are seen, by identity
  explicit OperatorObserver(std::span<const at::Tensor> parameters) {
    for (std::size_t i = 0; i < parameters.size(); ++i)
      indices_.emplace(parameters[i].unsafeGetTensorImpl(), i);
  }

  /// After an operator that used an observed parameter by a known rule. `output` may be replaced.
  virtual void on_use(ParameterUse use, at::Tensor& output) = 0;

  /// After a batch norm. `output` may be replaced.
  virtual void on_batch_norm(const BatchNormUse& use, at::Tensor& output) = 0;

  /// An operator without a rule took an observed parameter.
  virtual void on_unknown(std::size_t parameter, const std::string& op) = 0;

  /// What stands in the place of the output of an operator, by its name and its arguments; nothing: the
  /// operator itself runs. What this computes is observed like the rest.
  virtual std::optional<at::Tensor> instead_of(std::string_view /*op*/,
                                               c10::ArrayRef<c10::IValue> /*arguments*/) {
    return std::nullopt;
  }

  /// Runs `forward` with its operators observed.
  /// @returns what forward returns
  template <class Forward>
  static auto observe(const std::shared_ptr<OperatorObserver>& observer, Forward&& forward) {
    register_fallback();
    const c10::DebugInfoGuard slot(debug_slot(), observer);
    const c10::impl::IncludeDispatchKeyGuard include(key);
    return std::forward<Forward>(forward)();
  }

 private:
  using Indices = std::unordered_map<const c10::TensorImpl*, std::size_t>;

  static constexpr auto key = c10::DispatchKey::TESTING_ONLY_GenericWrapper;

  // A function, for in newer LibTorch this is no constant that the compiler knows.
  static c10::DebugInfoKind debug_slot() { return c10::DebugInfoKind::TEST_INFO; }

  static void register_fallback() {
    static const std::optional<torch::Library> library = []() -> std::optional<torch::Library> {
      // A second registration for the same key is refused by the dispatcher; another shared object's serves
      // as well.
      if (c10::Dispatcher::singleton().hasBackendFallbackForDispatchKey(key)) return std::nullopt;
      std::optional<torch::Library> made(std::in_place, torch::Library::IMPL, "_", key, __FILE__, __LINE__);
      made->fallback(torch::CppFunction::makeFromBoxedFunction<&OperatorObserver::intercept>());
      return made;
    }();
  }

  static void intercept(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
    const auto below = keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, key);
    auto* const observer = static_cast<OperatorObserver*>(c10::ThreadLocalDebugInfo::get(debug_slot()));
    if (observer != nullptr && observer->apply_rule(op, below, stack)) return;
    // A composite is transparent: the operators it is made of come here one by one.
    if (observer == nullptr || op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd)) {
      op.redispatchBoxed(below, stack);
      return;
    }
    for (const c10::IValue& argument : torch::jit::last(*stack, op.schema().arguments().size())) {
      observer->report_unknown(argument, op);
    }
    redispatch_unobserved(op, below, stack);
  }

  static void redispatch_unobserved(const c10::OperatorHandle& op, c10::DispatchKeySet below,
                                    torch::jit::Stack* stack) {
    const c10::impl::ExcludeDispatchKeyGuard exclude(key);
    op.redispatchBoxed(below, stack);
  }

  bool apply_rule(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack) {
    const std::string_view name = op.schema().name();
    const auto arguments = torch::jit::last(*stack, op.schema().arguments().size());
    if (std::optional<at::Tensor> output = instead_of(name, arguments)) {
      torch::jit::drop(*stack, arguments.size());
      torch::jit::push(*stack, *std::move(output));
      return true;
    }
    if (name == "aten::convolution" || name == "aten::_convolution") {
      return apply_convolution(op, below, stack, arguments);
    }
    if (name == "aten::linear") {
      return apply_linear(op, below, stack, arguments, 0, indices_, tensor_or_undefined(arguments[2]));
    }
    if (name == "aten::embedding") return apply_embedding(op, below, stack, arguments);
    if (name == "aten::matmul") return apply_linear(op, below, stack, arguments, 0, transposed_, {});
    if (name == "aten::addmm" && op.schema().overload_name().empty() && is_one(arguments[3]) &&
        is_one(arguments[4])) {
      return apply_linear(op, below, stack, arguments, 1, transposed_, arguments[0].toTensor());
    }
    if (name == "aten::instance_norm") {  // made of a batch norm over [1, B * C, ...], which mixes no samples
      for (const c10::IValue& argument : arguments) report_unknown(argument, op);
      redispatch_unobserved(op, below, stack);
      return true;
    }
    if (name == "aten::t") return apply_copy(op, below, stack, find(arguments[0], indices_), transposed_);
    // In another dtype, as autocast makes it, or on another device.
    if (name == "aten::_to_copy") return apply_copy(op, below, stack, find(arguments[0], indices_), indices_);
    if (name == "aten::batch_norm") return apply_batch_norm(op, below, stack, arguments);
    return false;
  }

  bool apply_batch_norm(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack,
                        c10::ArrayRef<c10::IValue> arguments) {
    const BatchNormUse use{arguments[0].toTensor(),
                           tensor_or_undefined(arguments[1]),
                           tensor_or_undefined(arguments[2]),
                           tensor_or_undefined(arguments[3]),
                           tensor_or_undefined(arguments[4]),
                           arguments[5].toBool(),
                           arguments[7].toDouble()};
    op.redispatchBoxed(below, stack);  // its own parameters are seen like those of any other operator
    at::Tensor output = torch::jit::pop(*stack).toTensor();
    const c10::impl::ExcludeDispatchKeyGuard exclude(key);
    on_batch_norm(use, output);
    torch::jit::push(*stack, std::move(output));
    return true;
  }

  bool apply_convolution(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack,
                         c10::ArrayRef<c10::IValue> arguments) {
    const auto parameter = find(arguments[1], indices_);
    if (!parameter || observed_beside(arguments, 1)) return false;
    ParameterUse use{ParameterUse::Kind::convolution,
                     *parameter,
                     arguments[0].toTensor(),
                     tensor_or_undefined(arguments[2]),
                     arguments[3].toIntVector(),
                     arguments[4].toIntVector(),
                     arguments[5].toIntVector(),
                     arguments[6].toBool(),
                     arguments[8].toInt()};
    const auto dimensions = static_cast<std::size_t>(use.input.dim() - 2);
    for (auto* list : {&use.stride, &use.padding, &use.dilation}) {
      if (list->size() == 1) list->assign(dimensions, list->front());
    }
    run(op, below, stack, std::move(use));
    return true;
  }

  bool apply_linear(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack,
                    c10::ArrayRef<c10::IValue> arguments, std::size_t input, const Indices& weights,
                    const at::Tensor& bias) {
    const auto parameter = find(arguments[input + 1], weights);
    if (!parameter || observed_beside(arguments, input + 1)) return false;
    run(op, below, stack,
        {ParameterUse::Kind::linear, *parameter, arguments[input].toTensor(), bias, {}, {}, {}});
    return true;
  }

  bool apply_embedding(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack,
                       c10::ArrayRef<c10::IValue> arguments) {
    const auto parameter = find(arguments[0], indices_);
    const bool by_frequency = arguments[3].toBool();  // of the whole batch
    if (!parameter || by_frequency || observed_beside(arguments, 0)) return false;
    ParameterUse use{ParameterUse::Kind::embedding, *parameter, arguments[1].toTensor(), {}, {}, {}, {}};
    use.padding_row = arguments[2].toInt();
    run(op, below, stack, std::move(use));
    return true;
  }

  /// An operator whose output stands for the parameter from now on.
  bool apply_copy(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack,
                  std::optional<std::size_t> parameter, Indices& copies) {
    if (!parameter) return false;
    redispatch_unobserved(op, below, stack);
    const at::Tensor output = torch::jit::peek(*stack, 0, 1).toTensor();
    copies.emplace(output.unsafeGetTensorImpl(), *parameter);
    kept_.push_back(output);  // its address is a key
    return true;
  }

  void run(const c10::OperatorHandle& op, c10::DispatchKeySet below, torch::jit::Stack* stack,
           ParameterUse use) {
    const c10::impl::ExcludeDispatchKeyGuard exclude(key);
    op.redispatchBoxed(below, stack);
    at::Tensor output = torch::jit::pop(*stack).toTensor();
    on_use(std::move(use), output);
    torch::jit::push(*stack, std::move(output));
  }

  /// Whether another argument than the weight, such as the bias, is observed too: no rule covers that.
  bool observed_beside(c10::ArrayRef<c10::IValue> arguments, std::size_t weight) const {
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      if (i != weight && (find(arguments[i], indices_) || find(arguments[i], transposed_))) return true;
    }
    return false;
  }

  void report_unknown(const c10::IValue& argument, const c10::OperatorHandle& op) {
    if (argument.isTensor()) {
      auto parameter = find(argument, indices_);
      if (!parameter) parameter = find(argument, transposed_);
      if (parameter) on_unknown(*parameter, op.schema().name());
    } else if (argument.isTensorList()) {
      for (const at::Tensor& tensor : argument.toTensorVector()) report_unknown(tensor, op);
    } else if (argument.isList()) {
      for (const c10::IValue& element : argument.toListRef()) report_unknown(element, op);
    }
  }

  static std::optional<std::size_t> find(const c10::IValue& value, const Indices& indices) {
    if (!value.isTensor()) return std::nullopt;
    const auto found = indices.find(value.toTensor().unsafeGetTensorImpl());
    if (found == indices.end()) return std::nullopt;
    return found->second;
  }

  static at::Tensor tensor_or_undefined(const c10::IValue& value) {
    return value.isTensor() ? value.toTensor() : at::Tensor();
  }

  static bool is_one(const c10::IValue& value) {
    return value.isScalar() && value.toScalar().toDouble() == 1.0;
  }

  Indices indices_;
  Indices transposed_;
  std::vector<at::Tensor> kept_;  // copies that stand for parameters
};

}  // namespace culprit::visit
