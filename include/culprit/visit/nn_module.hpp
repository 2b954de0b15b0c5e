// SPDX-License-Identifier: MIT
#pragma once

#include <concepts>
#include <memory>
#include <utility>
#include <vector>

#include <torch/nn/module.h>
#include <torch/nn/pimpl.h>

#include "culprit/visit/model_view.hpp"

namespace culprit::visit {

namespace detail {

template <class Items>
std::vector<NamedTensor> named_tensors(const Items& items) {
  std::vector<NamedTensor> tensors;
  for (const auto& item : items) tensors.push_back({item.key(), item.value()});
  return each_once(std::move(tensors));
}

}  // namespace detail

/// A C++ module whose forward maps one tensor to one tensor.
template <class M>
concept NnModule = std::derived_from<M, torch::nn::Module> && requires(M& module, const at::Tensor& x) {
  { module.forward(x) } -> std::convertible_to<at::Tensor>;
};

/// A module by reference.
template <NnModule M>
struct ViewOf<M> {
  /// Tensors by names of named_parameters() and named_buffers(); forward is the module's.
  static ModelView make(M& module) {
    ModelView view;
    view.parameters = detail::named_tensors(module.named_parameters());
    view.buffers = detail::named_tensors(module.named_buffers());
    if (module.is_training()) view.training.emplace_back();
    for (const auto& item : module.named_modules(/*name_prefix=*/"", /*include_self=*/false)) {
      if (item.value()->is_training()) view.training.push_back(item.key());
    }
    view.forward = [&module](const at::Tensor& x) -> at::Tensor { return module.forward(x); };
    return view;
  }
};

/// A module by shared pointer.
template <NnModule M>
struct ViewOf<std::shared_ptr<M>> {
  /// That of the module it points to.
  static ModelView make(const std::shared_ptr<M>& module) { return ViewOf<M>::make(*module); }
};

/// A module holder as made by TORCH_MODULE.
template <class H>
requires std::derived_from<H, torch::nn::ModuleHolder<typename H::ContainedType>> &&
    NnModule<typename H::ContainedType>
struct ViewOf<H> {
  /// That of the module it holds.
  static ModelView make(const H& holder) { return ViewOf<typename H::ContainedType>::make(*holder.ptr()); }
};

}  // namespace culprit::visit
