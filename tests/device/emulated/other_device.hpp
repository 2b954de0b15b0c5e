// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/native/CPUFallback.h>
#include <ATen/native/Resize.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/torch.h>

/// A device that is not the CPU, as far as LibTorch and this library can tell, though it computes on it: its
/// tensors are PrivateUse1's. It refuses what a GPU refuses, operands on the CPU, and notes what a GPU's
/// caller would have to wait for. What it cannot show is anything about time, streams or kernels.
namespace culprit::test {

inline const at::Device other_device{at::DeviceType::PrivateUse1, 0};

/// What an operation made the host wait for: numbers that were read, and sizes that depend on numbers.
inline std::vector<std::string>& waits() {
  static std::vector<std::string> all;
  return all;
}

/// Copies to the host that it need not wait for.
inline int& copies_on_the_way() {
  static int count = 0;
  return count;
}

namespace other_device_detail {

constexpr auto type = at::DeviceType::PrivateUse1;

/// Where to copy what, when somebody waits for it.
inline std::vector<std::pair<at::Tensor, at::Tensor>>& on_the_way() {
  static std::vector<std::pair<at::Tensor, at::Tensor>> all;
  return all;
}

class Memory final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t size) override {
    void* const data = std::malloc(std::max<std::size_t>(size, 1));
    return {data, data, &std::free, other_device};
  }
  [[nodiscard]] c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, std::size_t size) const override { std::memcpy(to, from, size); }
};

inline Memory& memory() {
  static Memory memory;
  return memory;
}

/// One stream, on which everything is done at once.
struct Guard final : c10::impl::NoOpDeviceGuardImpl<type> {
  [[nodiscard]] c10::Device exchangeDevice(c10::Device /*device*/) const override { return other_device; }
  [[nodiscard]] c10::Device getDevice() const override { return other_device; }
  [[nodiscard]] c10::Stream getStream(c10::Device /*device*/) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, other_device);
  }
  [[nodiscard]] c10::Stream exchangeStream(c10::Stream /*stream*/) const noexcept override {
    return c10::Stream(c10::Stream::DEFAULT, other_device);
  }
  void record(void** /*event*/, const c10::Stream& /*stream*/, c10::DeviceIndex /*index*/,
              c10::EventFlag /*flag*/) const override {}
  void block(void* /*event*/, const c10::Stream& /*stream*/) const override {}
  [[nodiscard]] bool queryEvent(void* /*event*/) const override { return true; }
  void synchronizeEvent(void* /*event*/) const override {
    for (const auto& [to, from] : on_the_way()) to.copy_(from);
    on_the_way().clear();
  }
};

/// Memory of the host that counts as pinned is that of the CPU's allocator.
struct Hooks final : at::PrivateUse1HooksInterface {
  [[nodiscard]] bool isBuilt() const override { return true; }
  [[nodiscard]] bool isAvailable() const override { return true; }
  [[nodiscard]] c10::DeviceIndex deviceCount() const override { return 1; }
  [[nodiscard]] bool hasPrimaryContext(c10::DeviceIndex /*index*/) const override { return true; }
  [[nodiscard]] const at::Generator& getDefaultGenerator(c10::DeviceIndex /*index*/) const override {
    return at::detail::getDefaultCPUGenerator();
  }
  [[nodiscard]] bool isPinnedPtr(const void* /*data*/) const override { return true; }
  [[nodiscard]] c10::Allocator* getPinnedMemoryAllocator() const override { return c10::GetCPUAllocator(); }
};

/// The same memory as a tensor of the CPU.
inline at::Tensor on_cpu(const at::Tensor& tensor) {
  if (!tensor.defined() || tensor.device().type() != type) return tensor;
  return at::from_blob(tensor.data_ptr(), tensor.sizes(), tensor.strides(),
                       at::dtype(tensor.scalar_type()).device(at::kCPU));
}

inline at::Tensor empty(at::IntArrayRef sizes, std::optional<at::ScalarType> dtype,
                        std::optional<at::Layout> /*layout*/, std::optional<at::Device> /*device*/,
                        std::optional<bool> /*pinned*/, std::optional<at::MemoryFormat> format) {
  return at::detail::empty_generic(sizes, &memory(), c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                   c10::dtype_or_default(dtype), format);
}

inline at::Tensor empty_strided(at::IntArrayRef sizes, at::IntArrayRef strides,
                                std::optional<at::ScalarType> dtype, std::optional<at::Layout> /*layout*/,
                                std::optional<at::Device> /*device*/, std::optional<bool> /*pinned*/) {
  return at::detail::empty_strided_generic(sizes, strides, &memory(),
                                           c10::DispatchKeySet(c10::DispatchKey::PrivateUse1),
                                           c10::dtype_or_default(dtype));
}

/// While an operation is done on the CPU, its operands go there and back unnoticed.
inline bool& inside() {
  thread_local bool inside = false;
  return inside;
}

inline at::Tensor& copy(at::Tensor& to, const at::Tensor& from, bool non_blocking) {
  const at::AutoDispatchBelowAutograd plain;
  if (to.is_cpu() && !inside()) {
    if (non_blocking) {
      ++copies_on_the_way();
      on_the_way().emplace_back(to, on_cpu(from).clone());
      std::memset(to.data_ptr(), 0xFF, to.nbytes());  // not there yet
      return to;
    }
    waits().emplace_back("a copy to the CPU");
  }
  on_cpu(to).copy_(on_cpu(from));
  return to;
}

/// For results that an operation writes to: what was there is not kept.
inline const at::Tensor& resize_(const at::Tensor& tensor, at::IntArrayRef sizes,
                                 std::optional<at::MemoryFormat> /*format*/) {
  if (tensor.sizes() == sizes) return tensor;
  const at::Tensor fresh = empty(sizes, tensor.scalar_type(), {}, {}, {}, {});
  c10::TensorImpl* const impl = tensor.unsafeGetTensorImpl();
  impl->set_storage_keep_dtype(fresh.storage());
  impl->set_storage_offset(0);
  impl->set_sizes_contiguous(sizes);
  return tensor;
}

inline at::Tensor copy_and_resize(const at::Tensor& from, const at::Tensor& to) {
  at::Tensor target = resize_(to, from.sizes(), std::nullopt);
  return copy(target, from, /*non_blocking=*/false);
}

inline at::Scalar number(const at::Tensor& tensor) {
  if (!inside()) waits().emplace_back("a number read");
  return on_cpu(tensor).item();
}

inline at::Tensor view(const at::Tensor& tensor, at::IntArrayRef sizes) {
  const at::Tensor result = on_cpu(tensor).view(sizes);
  return tensor.as_strided(result.sizes(), result.strides(), tensor.storage_offset());
}

inline at::Tensor reshape_alias(const at::Tensor& tensor, at::IntArrayRef sizes, at::IntArrayRef strides) {
  return tensor.as_strided(sizes, strides, tensor.storage_offset());
}

inline at::Tensor as_strided(const at::Tensor& tensor, at::IntArrayRef sizes, at::IntArrayRef strides,
                             std::optional<std::int64_t> offset) {
  auto result = at::detail::make_tensor<at::TensorImpl>(c10::TensorImpl::VIEW, c10::Storage(tensor.storage()),
                                                        tensor.key_set(), tensor.dtype());
  result.unsafeGetTensorImpl()->set_sizes_and_strides(sizes, strides,
                                                      offset.value_or(tensor.storage_offset()));
  return result;
}

inline at::Tensor convolution(const at::Tensor& x, const at::Tensor& weight,
                              const std::optional<at::Tensor>& bias, at::IntArrayRef stride,
                              at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed,
                              at::IntArrayRef output_padding, std::int64_t groups) {
  const auto host_bias = bias ? std::optional(on_cpu(*bias)) : bias;
  return at::convolution(on_cpu(x), on_cpu(weight), host_bias, stride, padding, dilation, transposed,
                         output_padding, groups)
      .to(other_device);
}

inline std::tuple<at::Tensor, at::Tensor, at::Tensor> convolution_backward(
    const at::Tensor& dy, const at::Tensor& x, const at::Tensor& weight, at::IntArrayRef stride,
    at::IntArrayRef padding, at::IntArrayRef dilation, bool transposed, at::IntArrayRef output_padding,
    std::int64_t groups, std::array<bool, 3> mask) {
  const auto back = [](const at::Tensor& tensor) {
    return tensor.defined() ? tensor.to(other_device) : tensor;
  };
  const auto [dx, dw, db] =
      at::convolution_backward(on_cpu(dy), on_cpu(x), on_cpu(weight), at::IntArrayRef({weight.size(0)}),
                               stride, padding, dilation, transposed, output_padding, groups, mask);
  return {back(dx), back(dw), back(db)};
}

/// Any other operation, as the CPU does it.
inline void fall_back(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  const std::string name = op.operator_name().name;
  const bool index = name == "aten::index" || name == "aten::index_put_" || name == "aten::_index_put_impl_";
  for (const c10::IValue& value : torch::jit::last(*stack, op.schema().arguments().size())) {
    const auto require_here = [&](const at::Tensor& tensor) {
      TORCH_CHECK(index || !tensor.defined() || !tensor.is_cpu() || tensor.dim() == 0, name,
                  ": expected all tensors on one device");
    };
    if (value.isTensor()) require_here(value.toTensor());
    if (!value.isTensorList()) continue;
    for (const at::Tensor& each : value.toTensorVector()) require_here(each);
  }
  for (const char* const sized : {"aten::nonzero", "aten::masked_select", "aten::_unique2", "aten::equal"})
    if (name == sized) waits().push_back(name);
  const bool was = std::exchange(inside(), true);
  at::native::cpu_fallback(op, stack);
  inside() = was;
}

}  // namespace other_device_detail
}  // namespace culprit::test

C10_REGISTER_GUARD_IMPL(PrivateUse1, culprit::test::other_device_detail::Guard)

TORCH_LIBRARY_IMPL(aten, PrivateUse1, m) {
  using namespace culprit::test::other_device_detail;
  c10::SetAllocator(type, &memory());
  c10::register_privateuse1_backend("other");
  static Hooks hooks;
  at::RegisterPrivateUse1HooksInterface(&hooks);
  m.impl("empty.memory_format", &empty);
  m.impl("empty_strided", &empty_strided);
  m.impl("copy_", &copy);
  m.impl("resize_", &resize_);
  m.impl("_copy_from_and_resize", &copy_and_resize);
  m.impl("_local_scalar_dense", &number);
  m.impl("view", &view);
  m.impl("_reshape_alias", &reshape_alias);
  m.impl("as_strided", &as_strided);
  m.impl("convolution_overrideable", &convolution);
  m.impl("convolution_backward_overrideable", &convolution_backward);
}

TORCH_LIBRARY_IMPL(_, PrivateUse1, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&culprit::test::other_device_detail::fall_back>());
}
