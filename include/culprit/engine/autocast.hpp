// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/autocast_mode.h>

#include "culprit/engine/batched.hpp"

namespace culprit::engine {

/// Another engine in mixed precision, as torch.autocast has it: convolutions and matrix products of float32
/// models in bfloat16, sums, losses and raw profiles in float32 and float64. For processors with instructions
/// for it (AVX512-BF16, AMX); right on all, but slower on the others.
///
/// The gradients of what the model so computes: a profile keeps two to three digits, its ranking almost all
/// of its order. Not for input saliency, whose second derivative keeps too little.
template <Engine E = Batched>
struct Autocast {
  E engine{};  ///< the one that runs in mixed precision

  /// @param inputs  [B, ...] @param targets  [B, ...] as the loss takes them
  template <Aggregation A, Loss L>
  [[nodiscard]] BatchResult operator()(const visit::Plan& plan, const A& aggregation, const L& loss,
                                       const at::Tensor& inputs, const at::Tensor& targets) const {
    const Scope scope(inputs.device().type());
    BatchResult result = engine(plan, aggregation, loss, inputs, targets);
    result.outputs = result.outputs.to(result.profiles.scalar_type());
    return result;
  }

 private:
  /// bfloat16 wherever LibTorch thinks it fit; gives back what there was.
  class Scope {
   public:
    explicit Scope(at::DeviceType device)
        : device_(device),
          enabled_(at::autocast::is_autocast_enabled(device)),
          type_(at::autocast::get_autocast_dtype(device)) {
      at::autocast::set_autocast_enabled(device, true);
      at::autocast::set_autocast_dtype(device, at::kBFloat16);
      at::autocast::increment_nesting();
    }
    Scope(const Scope&) = delete;
    Scope& operator=(const Scope&) = delete;
    ~Scope() {
      if (at::autocast::decrement_nesting() == 0) at::autocast::clear_cache();
      at::autocast::set_autocast_enabled(device_, enabled_);
      at::autocast::set_autocast_dtype(device_, type_);
    }

   private:
    at::DeviceType device_;
    bool enabled_;
    at::ScalarType type_;
  };
};

static_assert(Engine<Autocast<>>);

}  // namespace culprit::engine
