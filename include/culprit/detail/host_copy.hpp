// SPDX-License-Identifier: MIT
#pragma once

#include <optional>

#include <ATen/core/Tensor.h>
#include <ATen/ops/empty.h>
#include <c10/core/Event.h>
#include <c10/core/impl/VirtualGuardImpl.h>

namespace culprit::detail {

/// A tensor on its way to the CPU, in pinned memory, while the device goes on. One on the CPU is there
/// already.
class HostCopy {
 public:
  explicit HostCopy(const at::Tensor& source) : copy_(source) {
    if (source.is_cpu()) return;
    copy_ = at::empty(source.sizes(), source.options().device(at::kCPU).pinned_memory(true));
    copy_.copy_(source, /*non_blocking=*/true);
    const c10::Device device = source.device();
    arrived_.emplace(device.type());
    arrived_->record(c10::impl::VirtualGuardImpl(device.type()).getStream(device));
  }

  /// The copy, once it is whole.
  [[nodiscard]] const at::Tensor& wait() const {
    if (arrived_) arrived_->synchronize();
    return copy_;
  }

 private:
  at::Tensor copy_;
  std::optional<c10::Event> arrived_;
};

}  // namespace culprit::detail
