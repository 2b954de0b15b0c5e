// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include <ATen/core/Tensor.h>
#include <ATen/ops/from_blob.h>

#include "culprit/core/fingerprint.hpp"
#include "culprit/core/moments.hpp"
#include "culprit/core/profile.hpp"
#include "culprit/visit/model_view.hpp"

namespace culprit {

/// The profile's numbers as a tensor without a copy, [units] float64 on the CPU. The tensor shares ownership;
/// it must not be written to.
[[nodiscard]] inline at::Tensor as_tensor(const Profile& profile) {
  auto values = profile.shared_values();
  auto* data = const_cast<double*>(
      values->data());  // NOLINT(cppcoreguidelines-pro-type-const-cast): ATen has no const tensors
  const Index size = values->size();
  return at::from_blob(
      data, {size}, [owner = std::move(values)](void*) {}, at::dtype(at::kDouble));
}

/// Rows of a [n, units] tensor of any float dtype on any device, in float64.
[[nodiscard]] inline RowMatrix to_matrix(const at::Tensor& rows) {
  const at::Tensor wide = rows.to(at::kCPU, at::kDouble).contiguous();
  return Eigen::Map<const RowMatrix>(wide.const_data_ptr<double>(), wide.size(0), wide.size(1));
}

/// A row of a matrix as a vector.
[[nodiscard]] inline Eigen::VectorXd row_of(const RowMatrix& matrix, Index row) {
  return Eigen::Map<const Eigen::VectorXd>(matrix.data() + row * matrix.cols(), matrix.cols());
}

namespace detail {

inline std::uint64_t hash_tensor(const at::Tensor& tensor) {
  constexpr Index chunk = Index{1} << 16U;  // bounds the memory of the widened copy
  std::uint64_t hash = hash_values({});
  const at::Tensor flat = tensor.detach().reshape({-1});
  for (Index begin = 0; begin < flat.numel(); begin += chunk) {
    const at::Tensor wide =
        flat.narrow(0, begin, std::min(chunk, flat.numel() - begin)).to(at::kCPU, at::kDouble).contiguous();
    hash = hash_values({wide.const_data_ptr<double>(), static_cast<std::size_t>(wide.numel())}, hash);
  }
  return hash;
}

}  // namespace detail

/// Hashes of all parameters and buffers of a model but the counters of its batch norms, on which no output
/// depends (and which a change of the model's dtype casts), for Fingerprint::tensors.
/// @throws Error (numeric) naming the tensor that holds NaN or infinity.
[[nodiscard]] inline std::vector<std::pair<std::string, std::uint64_t>> hash_tensors(
    const visit::ModelView& model) {
  std::vector<std::pair<std::string, std::uint64_t>> hashes;
  for (const auto* list : {&model.parameters, &model.buffers}) {
    for (const auto& [name, tensor] : *list) {
      if (name.ends_with("num_batches_tracked")) continue;
      if (!tensor.isfinite().all().item<bool>()) {
        throw Error(ErrorCode::numeric, name, "finite values", "NaN or infinity");
      }
      hashes.emplace_back(name, detail::hash_tensor(tensor));
    }
  }
  return hashes;
}

}  // namespace culprit
