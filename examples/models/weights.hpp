// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <map>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <culprit/core/error.hpp>
#include <culprit/io/safetensors.hpp>
#include <torch/nn/module.h>

namespace culprit::zoo {
namespace detail {

using NamedTensors = std::vector<std::pair<std::string, torch::Tensor>>;

/// What Python calls the state_dict: every parameter, then every buffer; they share the module's memory.
inline NamedTensors state_of(const torch::nn::Module& module) {
  NamedTensors state;
  for (const auto& item : module.named_parameters()) {
    state.emplace_back(item.key(), item.value());
  }
  for (const auto& item : module.named_buffers()) {
    state.emplace_back(item.key(), item.value());
  }
  return state;
}

inline torch::Dtype torch_dtype(io::Dtype dtype) {
  switch (dtype) {
    case io::Dtype::Bool:
      return torch::kBool;
    case io::Dtype::U8:
      return torch::kUInt8;
    case io::Dtype::I8:
      return torch::kInt8;
    case io::Dtype::U16:
      return torch::kUInt16;
    case io::Dtype::I16:
      return torch::kInt16;
    case io::Dtype::F16:
      return torch::kFloat16;
    case io::Dtype::BF16:
      return torch::kBFloat16;
    case io::Dtype::U32:
      return torch::kUInt32;
    case io::Dtype::I32:
      return torch::kInt32;
    case io::Dtype::F32:
      return torch::kFloat32;
    case io::Dtype::U64:
      return torch::kUInt64;
    case io::Dtype::I64:
      return torch::kInt64;
    case io::Dtype::F64:
      return torch::kFloat64;
  }
  throw Error(ErrorCode::dtype, "element type", "one of io::Dtype", std::to_string(static_cast<int>(dtype)));
}

/// The inverse of torch_dtype.
inline io::Dtype file_dtype(torch::Dtype dtype, const std::string& name) {
  for (std::size_t i = 0; i < io::detail::dtype_facts.size(); ++i) {
    if (torch_dtype(static_cast<io::Dtype>(i)) == dtype) {
      return static_cast<io::Dtype>(i);
    }
  }
  throw Error(ErrorCode::dtype, "tensor " + name, "an element type that safetensors has",
              torch::toString(dtype));
}

inline torch::Tensor copy_of(const io::TensorView& view) {
  auto tensor = torch::empty(view.shape, torch_dtype(view.dtype));
  if (!view.data.empty()) {
    std::memcpy(tensor.mutable_data_ptr(), view.data.data(), view.data.size());
  }
  return tensor;
}

/// BatchNorm counts its training batches in a buffer that inference never reads: files of before 2018 lack
/// it, and Module::to(dtype) makes it a floating number.
inline bool is_batch_count(std::string_view name) { return name.ends_with("num_batches_tracked"); }

/// What hinders the file's tensors from becoming the module's, in words; empty when nothing does.
inline std::string differences(const NamedTensors& state, const io::Safetensors& file) {
  std::string text;
  const auto add = [&text](const std::string& difference) {
    text += (text.empty() ? "" : "; ") + difference;
  };
  std::set<std::string_view> known;
  for (const auto& [name, tensor] : state) {
    known.insert(name);
    const std::vector<std::int64_t> shape(tensor.sizes().begin(), tensor.sizes().end());
    if (!file.contains(name)) {
      if (!is_batch_count(name)) {
        add("missing " + name + " " + io::text_of(shape));
      }
      continue;
    }
    const auto& view = file.at(name);
    if (view.shape != shape) {
      add(name + " of shape " + io::text_of(view.shape) + " instead of " + io::text_of(shape));
    }
    if (!is_batch_count(name) &&
        torch::isFloatingType(torch_dtype(view.dtype)) != tensor.is_floating_point()) {
      add(name + " of type " + std::string(io::name_of(view.dtype)) + " instead of " +
          torch::toString(tensor.scalar_type()));
    }
  }
  for (const auto& name : file.names()) {
    if (!known.contains(name)) {
      add("extra " + name + " " + io::text_of(file.at(name).shape));
    }
  }
  return text;
}

}  // namespace detail

/// Fills every parameter and buffer of the module from the tensor of the same name in a safetensors file.
/// Floating types are converted to the module's. A module stays as it was when this throws.
/// A missing `num_batches_tracked` is no fault.
/// @throws Error{model} that lists every missing, extra, misshapen and mistyped tensor at once;
/// Error{numeric}
///         naming the first tensor with NaN or infinity, in the file or after conversion; Error{io} and
///         Error{format} as io::Safetensors::open
inline void load_weights(torch::nn::Module& module, const std::filesystem::path& path) {
  const auto file = io::Safetensors::open(path);
  const auto state = detail::state_of(module);
  if (const auto differences = detail::differences(state, file); !differences.empty()) {
    throw Error(ErrorCode::model, path.string(), "the tensors of the model", differences);
  }
  const torch::NoGradGuard no_grad;
  std::vector<std::pair<torch::Tensor, torch::Tensor>> staged;
  for (const auto& [name, target] : state) {
    if (!file.contains(name)) {
      continue;
    }
    auto source = detail::copy_of(file.at(name)).to(target.scalar_type());
    const auto bad = source.numel() - torch::isfinite(source).sum().item<std::int64_t>();
    if (bad != 0) {
      throw Error(
          ErrorCode::numeric, path.string() + ", tensor " + name, "finite values",
          std::to_string(bad) + " of " + std::to_string(source.numel()) + " that are NaN or infinite");
    }
    staged.emplace_back(target, std::move(source));
  }
  for (auto& [target, source] : staged) {
    target.copy_(source);
  }
}

/// Writes every parameter and buffer of the module, by name, to a safetensors file, atomically.
/// @throws Error as io::write_safetensors
inline void save_weights(const torch::nn::Module& module, const std::filesystem::path& path,
                         const std::map<std::string, std::string>& metadata) {
  const auto state = detail::state_of(module);
  std::vector<torch::Tensor> kept;
  std::vector<std::pair<std::string, io::TensorView>> views;
  for (const auto& [name, tensor] : state) {
    const auto& values = kept.emplace_back(tensor.detach().cpu().contiguous());
    views.emplace_back(name, io::TensorView{.dtype = detail::file_dtype(values.scalar_type(), name),
                                            .shape = values.sizes().vec(),
                                            .data = {static_cast<const std::byte*>(values.const_data_ptr()),
                                                     values.nbytes()}});
  }
  io::write_safetensors(path, views, metadata);
}

}  // namespace culprit::zoo
