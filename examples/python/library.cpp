// SPDX-License-Identifier: MIT
//
// culprit._library: the part of the Python package culprit that is C++, one translation unit. Tensors cross
// the border as they are; every function works without the interpreter's lock, and what it calls back takes
// it.
#include <algorithm>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <pybind11/functional.h>
#include <pybind11/stl.h>
#include <pybind11/stl/filesystem.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include "culprit/aggregate/aggregate.hpp"
#include "culprit/distance/distance.hpp"
#include "culprit/intervene/prune.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/loss/loss.hpp"
#include "culprit/neighbors.hpp"
#include "culprit/standardize/standardize.hpp"
#include "culprit/version.hpp"
#include "culprit/visit/script_module.hpp"
#include "python/method.hpp"

namespace culprit::python {

namespace {

namespace py = pybind11;

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

/// For pybind11: the function without the interpreter's lock; an Error becomes a ValueError, those of
/// LibTorch and of Python are theirs.
template <class Result, class... Arguments>
auto released(Result (*function)(Arguments...)) {
  return torch::wrap_pybind_function_no_gil([function](Arguments... arguments) -> Result {
    try {
      return function(std::forward<Arguments>(arguments)...);
    } catch (const Error& error) {
      throw py::value_error(error.what());
    }
  });
}

std::vector<visit::NamedTensor> named_tensors(const NamedTensors& pairs) {
  std::vector<visit::NamedTensor> tensors;
  for (const auto& [name, tensor] : pairs) tensors.push_back({name, tensor});
  return visit::each_once(std::move(tensors));
}

/// A vector of the baseline as a tensor that shares its ownership.
at::Tensor shared(const std::shared_ptr<Baseline>& owner, const Eigen::VectorXd& values) {
  auto* data =
      const_cast<double*>(values.data());  // NOLINT(cppcoreguidelines-pro-type-const-cast): as as_tensor
  return at::from_blob(
      data, {values.size()}, [owner](void*) {}, at::dtype(at::kDouble));
}

std::shared_ptr<Method> make_named(const std::string& aggregation, const Settings& settings) {
  return cli::with_policy<aggregate::MeanAbs, aggregate::Mean, aggregate::L2Norm, aggregate::MaxAbs,
                          aggregate::MedianAbs, aggregate::ParameterWise, aggregate::TensorMean>(
      aggregation, [&](const auto& policy) { return make_method(policy, settings); });
}

Settings make_settings(const std::string& standardization, const cli::AnyLoss& loss, const std::string& units,
                       const std::string& layers, const std::string& engine, Index workers) {
  if (engine != "batched" && engine != "loop")
    throw Error(ErrorCode::argument, "engine", "one of batched, loop", "'" + engine + "'");
  if (workers < 1) throw Error(ErrorCode::argument, "workers", "a number from 1", std::to_string(workers));
  return {cli::with_policy<standardize::ZScore, standardize::MeanRatio, standardize::Identity,
                           standardize::Robust>(
              standardization, [](const auto& policy) { return cli::AnyStandardization::of(policy); }),
          loss,
          cli::visitor(units),
          cli::layer_range(layers),
          {.one_by_one = engine == "loop", .batched = {.workers = workers}}};
}

cli::AnyLoss named_loss(const std::string& name) {
  if (name == "cross_entropy") return cli::AnyLoss::of(loss::CrossEntropy{});
  if (name == "predicted") return cli::AnyLoss::of(loss::AtTarget<loss::PredictedClass>{});
  throw Error(ErrorCode::argument, "loss", "cross_entropy, predicted, a class or a function",
              "'" + name + "'");
}

cli::AnyDistance named_distance(const std::string& name) {
  return cli::with_policy<distance::Cosine, distance::Euclidean>(
      name, [](const auto& policy) { return cli::AnyDistance::of(policy); });
}

/// Filters that are switched off until restore() or the end of the object.
class Pruned {
 public:
  Pruned(const Method& method, const visit::ModelView& model, std::vector<Index> units,
         const at::Tensor& inputs) {
    const visit::Plan traced = visit::trace(method.plan(model), inputs.narrow(0, 0, 1));
    (void)intervene::Prune{}(traced, {.input = inputs.select(0, 0), .units = std::move(units)}, undo_);
  }
  void restore() { undo_.restore(); }

 private:
  intervene::Undo undo_;
};

/// A table of profiles in memory that has rows of float64, float32 or bfloat16, one behind the other.
class Table {
 public:
  Table(const std::string& name, const at::Tensor& rows) : rows_(rows.detach().to(at::kCPU).contiguous()) {
    if (rows.dim() != 2 || rows.size(1) == 0)
      throw Error(ErrorCode::shape, name, "[profiles, units]", c10::str(rows.sizes()));
    const auto type = rows.scalar_type();
    if (type != at::kDouble && type != at::kFloat && type != at::kBFloat16)
      throw Error(ErrorCode::dtype, name, "float64, float32 or bfloat16", c10::toString(type));
  }

  [[nodiscard]] ProfileRows view(const std::shared_ptr<const Units>& units) const {
    ProfileRows view(units);
    const auto count = static_cast<std::size_t>(rows_.numel());
    const void* const data = rows_.const_data_ptr();
    if (rows_.scalar_type() == at::kDouble) {
      view.append(std::span(static_cast<const double*>(data), count));
    } else if (rows_.scalar_type() == at::kFloat) {
      view.append(std::span(static_cast<const float*>(data), count));
    } else {
      view.append(std::span(static_cast<const Bfloat16*>(data), count));
    }
    return view;
  }

 private:
  at::Tensor rows_;
};

/// Indices and distances [queries, k], where fewer are found the rest is -1 and infinity.
std::pair<at::Tensor, at::Tensor> neighbors(const at::Tensor& profiles, const at::Tensor& queries, Index k,
                                            const std::string& distance, std::vector<Index> leave_out) {
  const Table searched("profiles", profiles), asked("query", queries);
  const Index width = profiles.size(1);
  if (queries.size(1) != width)
    throw Error(ErrorCode::shape, "query", std::to_string(width) + " units, as the profiles have",
                std::to_string(queries.size(1)));
  Layer layer;
  layer.name = "profile";
  layer.shape = {width};
  layer.count = width;
  layer.size = 1;
  const auto units = std::make_shared<const Units>(std::vector<Layer>{layer});
  const NeighborOptions options{.k = k, .leave_out = std::move(leave_out)};
  const auto found = cli::with_policy<distance::Cosine, distance::Euclidean, distance::Spearman>(
      distance, [&](const auto& policy) {
        return Neighbors(policy)(asked.view(units), searched.view(units), options);
      });
  k = std::min(k, profiles.size(0));
  const auto rows = static_cast<Index>(found.size());
  at::Tensor indices = at::full({rows, k}, Index{-1}, at::dtype(at::kLong));
  at::Tensor distances = at::full({rows, k}, std::numeric_limits<double>::infinity(), at::dtype(at::kDouble));
  auto* const index = indices.mutable_data_ptr<Index>();
  auto* const far = distances.mutable_data_ptr<double>();
  for (std::size_t query = 0; query < found.size(); ++query) {
    for (std::size_t i = 0; i < found[query].size(); ++i) {
      const std::size_t place = query * static_cast<std::size_t>(k) + i;
      index[place] = found[query][i].index;
      far[place] = found[query][i].distance;
    }
  }
  return {indices, distances};
}

void bind_units(py::module_& module) {
  py::class_<Layer>(module, "Layer")
      .def_readonly("name", &Layer::name)
      .def_readonly("shape", &Layer::shape)
      .def_readonly("first", &Layer::first)
      .def_readonly("count", &Layer::count)
      .def_readonly("size", &Layer::size)
      .def_readonly("batch_norm", &Layer::batch_norm)
      .def_readonly("uses", &Layer::uses);
  py::class_<Units, std::shared_ptr<Units>>(module, "Units")
      .def_property_readonly("layers", &Units::layers)
      .def("__len__", &Units::size)
      .def("place", released(+[](const Units& units, Index index) {
             const Unit unit = units.unit(index);
             return std::pair(units.layers()[static_cast<std::size_t>(unit.layer)].name, unit.channel);
           }))
      .def("index", released(+[](const Units& units, const std::string& name, Index channel) {
             return units.index(name, channel);
           }))
      .def("table",
           [](const Units& units) {
             std::vector<std::string> layers;
             std::vector<Index> channels, sizes;
             for (const Layer& layer : units.layers()) {
               layers.insert(layers.end(), static_cast<std::size_t>(layer.count), layer.name);
               sizes.insert(sizes.end(), static_cast<std::size_t>(layer.count), layer.size);
               for (Index channel = 0; channel < layer.count; ++channel) channels.push_back(channel);
             }
             return py::dict(py::arg("layer") = layers, py::arg("channel") = channels,
                             py::arg("size") = sizes);
           })
      .def("top", released(+[](const std::shared_ptr<Units>& units, const at::Tensor& profile, Index count) {
             if (profile.dim() != 1)
               throw Error(ErrorCode::shape, "profile", "[units]", c10::str(profile.sizes()));
             std::vector<std::tuple<std::string, Index, double, Index>> all;
             for (const RankedUnit& each :
                  Profile(units, row_of(to_matrix(profile.detach().unsqueeze(0)), 0)).top(count))
               all.emplace_back(each.layer, each.channel, each.value, each.unit);
             return all;
           }));
}

void bind_baseline(py::module_& module) {
  py::class_<Baseline, std::shared_ptr<Baseline>>(module, "Baseline")
      .def_static("load", released(+[](const std::filesystem::path& path) {
                    return std::make_shared<Baseline>(io::load_baseline(path));
                  }))
      .def("save", released(+[](const Baseline& baseline, const std::filesystem::path& path) {
             io::save_baseline(path, baseline);
           }))
      .def("merged", released(+[](const Baseline& baseline, const Baseline& other) {
             auto all = std::make_shared<Baseline>(baseline);
             all->merge(other);
             return all;
           }))
      .def_property_readonly("mean", released(+[](const std::shared_ptr<Baseline>& baseline) {
                               return shared(baseline, baseline->mean());
                             }))
      .def_property_readonly("std", released(+[](const std::shared_ptr<Baseline>& baseline) {
                               return shared(baseline, baseline->stddev());
                             }))
      .def_property_readonly("count", &Baseline::count)
      .def_property_readonly("skipped", &Baseline::skipped)
      .def_property_readonly("dead", &Baseline::dead)
      .def_property_readonly("aggregation", [](const Baseline& b) { return b.fingerprint().aggregation; })
      .def_property_readonly("loss", [](const Baseline& b) { return b.fingerprint().loss; })
      .def_property_readonly("preprocessing", [](const Baseline& b) { return b.fingerprint().preprocessing; })
      .def_property_readonly("units", [](const Baseline& b) { return std::make_shared<Units>(b.units()); });
}

void bind_method(py::module_& module) {
  py::class_<cli::AnyLoss>(module, "Loss")
      .def(py::init(released(&named_loss)))
      .def(py::init(released(+[](Index index) {
        return cli::AnyLoss::of(loss::AtTarget<loss::GivenClass>{{index}, {}});
      })))
      .def(py::init(released(+[](const cli::AnyLoss::Function& function, const std::string& text) {
        return cli::AnyLoss::of(function, text);
      })));
  py::class_<Settings>(module, "Settings").def(py::init(released(&make_settings)));
  py::class_<visit::ModelView>(module, "ModelView")
      .def(py::init(released(+[](const NamedTensors& parameters, const NamedTensors& buffers,
                                 const std::vector<std::string>& training,
                                 const std::function<at::Tensor(const at::Tensor&)>& forward) {
        return visit::ModelView{named_tensors(parameters), named_tensors(buffers), training, forward};
      })))
      .def(py::init(released(+[](const torch::jit::Module& script) { return visit::view(script); })));
  py::class_<Method, std::shared_ptr<Method>>(module, "Method")
      .def(py::init(released(&make_named)))
      .def("units", released(+[](const Method& method, const visit::ModelView& model) {
             return std::make_shared<Units>(*method.plan(model).units);
           }))
      .def("fit", released(+[](const Method& method, const visit::ModelView& model, const NextBatch& next,
                               const std::string& preprocessing, bool skip) {
             return std::make_shared<Baseline>(method.fit(
                 model, next,
                 {.preprocessing = preprocessing, .non_finite = skip ? NonFinite::skip : NonFinite::refuse}));
           }))
      .def("profile",
           released(+[](const Method& method, const visit::ModelView& model, const at::Tensor& inputs,
                        const at::Tensor& labels, const Baseline* baseline) {
             return method.profile(model, inputs, labels, baseline);
           }))
      .def("input_saliency",
           released(+[](const Method& method, const visit::ModelView& model, const at::Tensor& inputs,
                        const at::Tensor& labels, const Baseline& baseline,
                        const std::variant<Index, std::vector<Index>>& filters, const std::string& distance,
                        double boost, Index noise_iters, double noise_std, std::uint64_t seed) {
             const auto* const given = std::get_if<std::vector<Index>>(&filters);
             const cli::AnySelection selection =
                 given != nullptr ? cli::AnySelection{select::Given{*given}}
                                  : cli::AnySelection{select::Top{.count = std::get<Index>(filters)}};
             return method.input_saliency(
                 model, inputs, labels, baseline,
                 {named_distance(distance), selection, {boost, noise_iters, noise_std, seed}});
           }));
  py::class_<Pruned>(module, "Pruned")
      .def(py::init(released(
          +[](const Method& method, const visit::ModelView& model, const std::vector<Index>& units,
              const at::Tensor& inputs) { return std::make_unique<Pruned>(method, model, units, inputs); })))
      .def("restore", released(+[](Pruned& pruned) { pruned.restore(); }));
  module.def("neighbors", released(&neighbors));
}

}  // namespace

}  // namespace culprit::python

PYBIND11_MODULE(TORCH_EXTENSION_NAME, module) {
  module.attr("version") = std::string(culprit::version);
  culprit::python::bind_units(module);
  culprit::python::bind_baseline(module);
  culprit::python::bind_method(module);
}
