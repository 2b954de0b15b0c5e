// SPDX-License-Identifier: MIT
#include <cstddef>
#include <utility>
#include <vector>

#include "culprit/profiler.hpp"

namespace cu = culprit;

struct ManyDimensions {
  std::size_t least = 3;
  bool operator()(at::IntArrayRef shape) const { return shape.size() >= least; }
};

struct CountsUnits {
  cu::Index operator()(at::IntArrayRef shape) const { return shape.size() == 2 ? 2 : 0; }
};

struct ReturnsUnsigned {
  std::size_t operator()(at::IntArrayRef shape) const;
};

struct Mutable {
  bool operator()(at::IntArrayRef shape);
};

struct OfTensor {
  bool operator()(const at::Tensor& parameter) const;
};

void use(cu::visit::ModelView& model, const std::vector<std::pair<at::Tensor, at::Tensor>>& loader,
         const cu::Sample& sample, std::size_t least) {
  const cu::aggregate::MeanAbs mean_abs;
  const cu::standardize::ZScore z_score;

  const cu::Profiler right{mean_abs, z_score, ManyDimensions{least}};
  (void)right(model, sample, right.fit(model, loader)).top(10);

  const cu::Profiler counts{mean_abs, z_score, CountsUnits{}};
  (void)counts(model, sample, counts.fit(model, loader)).top(10);

  // error: culprit: a visitor returns a bool, whether a parameter of that shape holds units, or an Index, how
  // many
  const cu::Profiler returns_unsigned{mean_abs, z_score, ReturnsUnsigned{}};
  (void)returns_unsigned(model, sample, returns_unsigned.fit(model, loader)).top(10);

  // error: culprit: a visitor has a const operator()(at::IntArrayRef shape)
  const cu::Profiler is_mutable{mean_abs, z_score, Mutable{}};
  (void)is_mutable(model, sample, is_mutable.fit(model, loader)).top(10);

  // error: culprit: a visitor has a const operator()(at::IntArrayRef shape)
  const cu::Profiler of_tensor{mean_abs, z_score, OfTensor{}};
  (void)of_tensor(model, sample, of_tensor.fit(model, loader)).top(10);

  const cu::Profiler lambda{mean_abs, z_score, [](at::IntArrayRef shape) { return shape.size() >= 3; }};
  (void)lambda(model, sample, lambda.fit(model, loader)).top(10);

  // error: culprit: a visitor can be copied and assigned, which a lambda with captures cannot
  const cu::Profiler captures{mean_abs, z_score,
                              [least](at::IntArrayRef shape) { return shape.size() >= least; }};
  (void)captures(model, sample, captures.fit(model, loader)).top(10);
}
