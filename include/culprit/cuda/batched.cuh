// SPDX-License-Identifier: MIT
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "culprit/cuda/dispatch.cuh"
#include "culprit/cuda/problem_of.cuh"
#include "culprit/engine/batched.hpp"

namespace culprit::cuda {

/// How float32 numbers are multiplied.
enum class Precision {
  float32,  ///< as float32: exact but for rounding
  tf32,     ///< rounded to TF32, on tensor cores
};

/// Forms the gradients of a layer's weight for all samples on a CUDA device and reduces them in registers:
/// one number for each sample and unit leaves the chip. Needs nvcc, and an aggregation on scalars whose
/// functions device code may call: constexpr ones (with --expt-relaxed-constexpr), or __host__ __device__.
///
/// For convolutions of one and two dimensions and linear layers whose units are the rows of the weight, in
/// float32, bfloat16 and float16; what it has no rule for is left to operations of LibTorch.
struct FusedOnDevice {
  Precision precision = Precision::float32;  ///< of layers in float32

  /// @param x  input of the use @param dy  gradient of its output, of the same dtype
  /// @param profiles  [B, units], float32
  /// @returns         whether there is a rule for this; else nothing has been done
  /// @throws c10::Error for what CUDA says about the launch.
  template <ScalarAggregation A>
  bool operator()(const A& policy, const visit::ParameterUse& use, const Layer& layer, const at::Tensor& x,
                  const at::Tensor& dy, at::Tensor& profiles) const {
    if (!dy.is_cuda() || dy.device() != profiles.device() || layer.count != layer.shape.front() ||
        x.scalar_type() != dy.scalar_type())
      return false;
    switch (dy.scalar_type()) {
      case at::kFloat:
        return precision == Precision::tf32 ? reduce<Tf32>(policy, use, layer, x, dy, profiles)
                                            : reduce<Float32>(policy, use, layer, x, dy, profiles);
      case at::kBFloat16:
        return reduce<Bfloat16>(policy, use, layer, x, dy, profiles);
      case at::kHalf:
        return reduce<Float16>(policy, use, layer, x, dy, profiles);
      default:
        return false;
    }
  }

 private:
  template <class Multiply, class A>
  static bool reduce(const A& policy, const visit::ParameterUse& use, const Layer& layer, const at::Tensor& x,
                     const at::Tensor& dy, at::Tensor& profiles) {
    const auto problem = detail::problem_of<typename Multiply::Element>(use, layer, x, dy);
    if (!problem) return false;
    const c10::DeviceGuard device(dy.device());
    at::Tensor memory;  // freed in the order of the stream
    const auto workspace = [&](std::int64_t bytes) {
      memory = at::empty({bytes}, dy.options().dtype(at::kByte));
      return memory.mutable_data_ptr();
    };
    C10_CUDA_CHECK(reduce_gradients<Multiply>(
        problem->numbers, policy, workspace, profiles.mutable_data_ptr<float>() + layer.first,
        profiles.stride(0), c10::cuda::getCurrentCUDAStream(dy.get_device())));
    return true;
  }
};

/// The engine for models on a CUDA device, with the reduction in one kernel; elsewhere as engine::Batched
/// without its own.
using Batched = engine::BasicBatched<FusedOnDevice>;

static_assert(DifferentiableEngine<Batched>);

}  // namespace culprit::cuda
