// SPDX-License-Identifier: MIT
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "culprit/profiler.hpp"

namespace cu = culprit;

struct Named {
  at::Tensor inputs, labels;
  std::vector<std::string> files;
};

struct OfTargets {
  at::Tensor inputs, targets;
};

struct Example {
  at::Tensor data, target;
};

struct OtherNames {
  at::Tensor images, labels;
};

struct NoTensors {
  std::vector<float> inputs;
  std::vector<int> labels;
};

void use(cu::visit::ModelView& model) {
  const cu::Profiler profiler;
  (void)profiler.fit(model, std::vector<Named>());
  (void)profiler.fit(model, std::vector<OfTargets>());
  (void)profiler.fit(model, std::vector<Example>());
  (void)profiler.fit(model, std::vector<std::pair<at::Tensor, at::Tensor>>());
  (void)profiler.fit(model, std::vector<std::tuple<at::Tensor, at::Tensor, int>>());

  // error: culprit: a batch to fit has tensors `inputs` and `labels` or `targets`, or `data` and `target`, or
  // is a pair or tuple that begins with two tensors
  (void)profiler.fit(model, std::vector<OtherNames>());

  // error: culprit: a batch to fit has tensors `inputs` and `labels` or `targets`, or `data` and `target`, or
  // is a pair or tuple that begins with two tensors
  (void)profiler.fit(model, std::vector<NoTensors>());

  // error: culprit: a batch to fit has tensors `inputs` and `labels` or `targets`, or `data` and `target`, or
  // is a pair or tuple that begins with two tensors
  (void)profiler.fit(model, std::vector<std::pair<at::Tensor, int>>());
}
