// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <string>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/DeviceGuard.h>
#include <c10/cuda/CUDAException.h>
#include <c10/cuda/CUDAStream.h>

#include "culprit/concepts.hpp"
#include "culprit/cuda/top_dispatch.cuh"

namespace culprit::cuda {

/// What is usual for each unit, on a device, for top_units: [units, 4] float64, the members of
/// UnitStatistics.
[[nodiscard]] inline at::Tensor statistics_on(at::Device device, const Baseline& baseline) {
  static_assert(sizeof(UnitStatistics) == 4 * sizeof(double));
  const Index units = baseline.units().size();
  at::Tensor usual = at::empty({units, 4}, at::kDouble);
  auto* const rows = reinterpret_cast<UnitStatistics*>(usual.mutable_data_ptr<double>());
  for (Index k = 0; k < units; ++k) rows[k] = baseline.statistics(k);
  return usual.to(device);
}

/// The culprits of a batch: standardized values and their units.
struct TopUnits {
  at::Tensor values;  ///< [B, k] float64, descending; NaN, if there is one, first
  at::Tensor units;   ///< [B, k] int64; of equal values the lowest first
};

/// Standardizes raw profiles (Eq. 2) and ranks them in one kernel, without a wait: 2 k numbers of each sample
/// are left to be read, those that Profile::top gives. Needs nvcc, and a standardization whose function
/// device code may call, as the constexpr ones of this library but Robust.
/// @param raw    [B, units] float32 or float64 on a CUDA device, as engine::BatchResult::profiles
/// @param usual  statistics_on that device
/// @param k      how many, at most 1024; as many as there are where there are fewer
/// @throws Error (shape) for a table of another number of units, Error (argument) for a k out of range,
/// c10::Error for what CUDA says about the launch.
template <Standardization S>
[[nodiscard]] TopUnits top_units(const S& standardization, const at::Tensor& raw, const at::Tensor& usual,
                                 Index k) {
  if (raw.dim() != 2 || usual.dim() != 2 || usual.size(1) != 4 || raw.size(1) != usual.size(0)) {
    throw Error(ErrorCode::shape, "raw profiles", "[samples, " + std::to_string(usual.size(0)) + "]",
                c10::str(raw.sizes()));
  }
  if (k < 0 || k > most_top_units) {
    throw Error(ErrorCode::argument, "units of a sample", "0 to " + std::to_string(most_top_units),
                std::to_string(k));
  }
  k = std::min(k, raw.size(1));
  TopUnits top{at::empty({raw.size(0), k}, raw.options().dtype(at::kDouble)),
               at::empty({raw.size(0), k}, raw.options().dtype(at::kLong))};
  if (top.values.numel() == 0) return top;
  const c10::DeviceGuard device(raw.device());
  const auto find = [&]<class T>(T /*type*/) {
    const at::Tensor rows = raw.contiguous();
    const TopTask<T> task{rows.const_data_ptr<T>(),
                          reinterpret_cast<const UnitStatistics*>(usual.const_data_ptr<double>()),
                          static_cast<int>(raw.size(1)),
                          static_cast<int>(k),
                          top.values.mutable_data_ptr<double>(),
                          top.units.mutable_data_ptr<std::int64_t>()};
    C10_CUDA_CHECK(find_top_units(task, standardization, raw.size(0),
                                  c10::cuda::getCurrentCUDAStream(raw.get_device())));
  };
  raw.scalar_type() == at::kDouble ? find(0.0) : find(0.0F);
  return top;
}

}  // namespace culprit::cuda
