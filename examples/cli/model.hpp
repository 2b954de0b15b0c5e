// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <exception>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include <ATen/Context.h>
#include <torch/cuda.h>
#include <torch/script.h>
#include <torch/types.h>

#include "cli/options.hpp"
#include "cli/text.hpp"
#include "culprit/core/error.hpp"
#include "culprit/visit/nn_module.hpp"
#include "culprit/visit/script_module.hpp"
#include "models/weights.hpp"
#include "models/zoo.hpp"

namespace culprit::cli {

/// What went wrong inside LibTorch, on one line: its first sentence, without where in LibTorch, or in a
/// script, or by which condition, it was said.
[[nodiscard]] inline std::string reason(const std::exception& error) {
  const auto* const torch_error = dynamic_cast<const c10::Error*>(&error);
  std::string_view text = torch_error != nullptr ? torch_error->what_without_backtrace() : error.what();
  constexpr std::string_view script_error = "RuntimeError: ";  // behind the traceback of a script
  if (const std::size_t at = text.rfind(script_error); at != std::string_view::npos) {
    text.remove_prefix(at + script_error.size());
  }
  constexpr std::string_view condition = "[enforce fail at ";  // place and condition, then the message
  if (const std::size_t end = text.find(". "); text.starts_with(condition) && end != std::string_view::npos)
    text.remove_prefix(end + 2);
  return one_line(text.substr(0, std::min(text.find('\n'), text.find(". "))));
}

[[nodiscard]] inline torch::Dtype dtype_of(const Options& options) {
  return options.dtype == "float64" ? torch::kFloat64 : torch::kFloat32;
}

/// @throws Error (argument) when there is no such device
[[nodiscard]] inline torch::Device device_of(const Options& options) {
  if (options.device == "cpu") return torch::kCPU;
  const torch::Device device(options.device);
  const int count = torch::cuda::device_count();
  if (count == 0)
    throw Error(ErrorCode::argument, "--device " + options.device, "a CUDA device", "none here");
  if (device.has_index() && device.index() >= count) {
    throw Error(ErrorCode::argument, "--device " + options.device, "a number below " + std::to_string(count),
                std::to_string(device.index()));
  }
  return device;
}

/// A model of any kind with what keeps it alive.
struct LoadedModel {
  std::shared_ptr<zoo::Classifier> module;  ///< null for a script, which its view holds
  visit::ModelView view;
};

/// Loads what --model names, on --device, in --dtype, in eval mode.
/// @throws Error naming the file and what is wrong with it
[[nodiscard]] inline LoadedModel load_model(const Options& options) {
  const torch::Device device = device_of(options);
  at::globalContext().setAllowTF32CuDNN(false);  // profiles need all the bits that float32 has
  LoadedModel model;
  const std::size_t colon = options.model.find(':');
  if (colon == std::string::npos || options.model.ends_with(".pt") || options.model.ends_with(".pth")) {
    if (!std::filesystem::exists(options.model)) {
      throw Error(ErrorCode::io, options.model, "a TorchScript file", "no such file");
    }
    try {
      model.view = visit::view(torch::jit::load(options.model, device));
    } catch (const std::exception& error) {
      throw Error(ErrorCode::format, options.model,
                  "a TorchScript file (of torch.jit.trace or script, then .save), not weights alone",
                  reason(error));
    }
    if (!model.view.training.empty()) {
      throw Error(ErrorCode::model, options.model, "a module in eval mode (call .eval() before saving it)",
                  "training mode");
    }
  } else {
    model.module = zoo::make_model(options.model.substr(0, colon));
    zoo::load_weights(*model.module, options.model.substr(colon + 1));
    model.view = visit::view(model.module);
  }
  // Module::to would make integer buffers floating too.
  for (auto* list : {&model.view.parameters, &model.view.buffers}) {
    for (visit::NamedTensor& item : *list) {
      const torch::Tensor& old = item.tensor;
      item.tensor.set_data(old.to(device, old.is_floating_point() ? dtype_of(options) : old.scalar_type()));
    }
  }
  return model;
}

}  // namespace culprit::cli
