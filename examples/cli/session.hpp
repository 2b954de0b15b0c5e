// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <new>
#include <optional>
#include <span>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

#include <ATen/Parallel.h>
#include <torch/types.h>
#include <torch/version.h>

#include "cli/boxes.hpp"
#include "cli/inputs.hpp"
#include "cli/method.hpp"
#include "cli/model.hpp"
#include "cli/options.hpp"
#include "culprit/core/baseline.hpp"
#include "culprit/intervene/prune_each.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/checkpoint.hpp"
#include "culprit/io/json.hpp"
#include "culprit/version.hpp"
#include "culprit/visit/data_flow.hpp"
#include "data/loader.hpp"

namespace culprit::cli {

/// What every command starts from: method, model and samples, each checked against the others before any long
/// work.
class Session {
 public:
  /// @throws Error naming what is wrong
  explicit Session(const Options& options)
      : options_(options),
        method_(make_method(options)),
        model_(load_model(options)),
        plan_(method_->plan(model_.view)),
        inputs_(open_inputs(options)),
        fingerprint_(method_->fingerprint(plan_, inputs_.preprocess.description())) {
    if (options.seed) torch::manual_seed(*options.seed);
    const data::Batch first = *loader({inputs_.chosen.front()}).begin();
    classes_ = in_context(first, [&] {
      const torch::Tensor outputs = plan_.model.forward(on_device(first.inputs));
      if (outputs.dim() != 2) {
        throw Error(ErrorCode::shape, "model output", "[batch, classes]", c10::str(outputs.sizes()));
      }
      plan_ = visit::trace(plan_, on_device(first.inputs));
      return outputs.size(1);
    });
    check_labels();
    if (!options.boxes.empty())
      boxes_ = read_boxes(options.boxes, *inputs_.set, first.inputs.size(2), first.inputs.size(3));
  }

  [[nodiscard]] const visit::Plan& plan() const { return plan_; }
  [[nodiscard]] const Method& method() const { return *method_; }
  [[nodiscard]] const Inputs& inputs() const { return inputs_; }
  [[nodiscard]] const Units& units() const { return *plan_.units; }
  [[nodiscard]] std::shared_ptr<const Units> shared_units() const { return plan_.units; }
  [[nodiscard]] const Fingerprint& fingerprint() const { return fingerprint_; }
  [[nodiscard]] Index classes() const { return classes_; }
  [[nodiscard]] std::string path(std::size_t sample) const { return inputs_.set->item(sample).path; }

  /// Where the model is; batches of pictures with their channels side by side, in which order they take less
  /// time.
  [[nodiscard]] torch::Tensor on_device(const torch::Tensor& tensor) const {
    const auto order = tensor.dim() == 4 ? at::MemoryFormat::ChannelsLast : at::MemoryFormat::Contiguous;
    return plan_.brought(tensor).contiguous(order);
  }

  /// What --boxes has for it.
  [[nodiscard]] std::optional<intervene::Box> box(std::size_t sample) const {
    const auto found = boxes_.find(sample);
    return found == boxes_.end() ? std::nullopt : std::optional(found->second);
  }

  /// The part of --baseline that the computed layers need.
  /// @throws Error (baseline) naming the difference when the file was not fitted to this model, method and
  /// preprocessing
  [[nodiscard]] Baseline baseline() const {
    const Baseline baseline = io::load_baseline(options_.baseline);
    if (baseline.count() == 0)
      throw Error(ErrorCode::baseline, options_.baseline, "a baseline of at least one sample", "none");
    if (method_->needs_quantiles() && !baseline.quantiles()) {
      throw Error(ErrorCode::baseline, options_.baseline,
                  "quantiles, which culprit fit --standardize robust collects", "none");
    }
    try {
      baseline.check(fingerprint_);
      return baseline.part(plan_.units);
    } catch (const Error& error) {
      throw Error(error.code(), options_.baseline, error.expected(), error.came());
    }
  }

  /// Batches of these samples; where each worker takes one of its own, as many at once as there are workers.
  [[nodiscard]] data::Loader loader(std::vector<std::size_t> indices) const {
    const auto at_once =
        has_batch_for_each_worker(options_) ? static_cast<std::size_t>(workers(options_)) : 1;
    return {*inputs_.set,
            inputs_.preprocess,
            {.batch = options_.batch * at_once, .dtype = dtype_of(options_), .indices = std::move(indices)}};
  }

  /// Profiles on the CPU, outputs and losses where the model is.
  [[nodiscard]] engine::BatchResult profile(const data::Batch& batch) const {
    return in_context(batch, [&] {
      const torch::Tensor inputs = on_device(batch.inputs);
      engine::BatchResult result = options_.non_finite == "refuse"
                                       ? method_->batch(plan_, inputs, batch.labels)
                                       : method_->batch_as_is(plan_, inputs, batch.labels);
      result.profiles = result.profiles.cpu();
      return result;
    });
  }

  [[nodiscard]] std::vector<InputGradient> input_saliency(const data::Batch& batch, const Baseline& baseline,
                                                          const AnySelection& selection) const {
    return in_context(batch, [&] {
      return method_->input_saliency(plan_, on_device(batch.inputs), batch.labels, baseline, selection);
    });
  }

  /// The model's outputs with each sample's own units switched off.
  [[nodiscard]] torch::Tensor outputs_pruned_each(const data::Batch& batch,
                                                  const std::vector<std::vector<Index>>& units) const {
    return in_context(batch,
                      [&] { return intervene::outputs_pruned_each(plan_, on_device(batch.inputs), units); });
  }

  /// The model's outputs, without gradients.
  [[nodiscard]] torch::Tensor forward(const data::Batch& batch) const {
    const torch::NoGradGuard no_grad;
    return in_context(batch,
                      [&] { return plan_.model.forward(engine::private_copy(on_device(batch.inputs))); });
  }

  /// What a result file says about the run that made it.
  [[nodiscard]] std::map<std::string, std::string> metadata() const {
    std::map<std::string, std::string> texts{
        {"model", options_.model}, {"dtype", options_.dtype}, {"batch", std::to_string(options_.batch)}};
    if (options_.seed) texts["seed"] = std::to_string(*options_.seed);
    texts["data"] =
        io::dump(io::Json::object({{"spec", options_.image.empty() ? options_.data : options_.image},
                                   {"samples", inputs_.indices.size()},
                                   {"fingerprint", data::fingerprint(*inputs_.set)},
                                   {"first", inputs_.first},
                                   {"chosen", io::Json::object({{"samples", inputs_.chosen.size()},
                                                                {"fingerprint", chosen_hash()}})}}));
    return texts;
  }

  /// What must be the same for another run of the command to go on with what this one has done.
  [[nodiscard]] io::Job job(const std::string& command) const {
    const auto hash = [](const std::string& text) {
      return io::to_hex(hash_bytes(std::as_bytes(std::span(text))));
    };
    io::Job job{{"command", command},
                {"version of culprit", std::string(version)},
                {"version of LibTorch", TORCH_VERSION},
                {"model", options_.model.find(':') == std::string::npos
                              ? io::hash_of_file(options_.model)
                              : options_.model.substr(0, options_.model.find(':'))},
                {"values of the model", hash(io::dump(io::fingerprint_to_json(fingerprint_).at("tensors")))},
                {"aggregation", fingerprint_.aggregation},
                {"loss", fingerprint_.loss},
                {"preprocessing", fingerprint_.preprocessing},
                {"units", hash(io::dump(io::units_to_json(units())))},
                {"data", data::fingerprint(*inputs_.set)},
                {"chosen samples", chosen_hash()},
                {"first sample", std::to_string(inputs_.first)},
                {"samples", std::to_string(inputs_.indices.size())},
                {"batch", std::to_string(options_.batch)},
                {"dtype", options_.dtype},
                {"engine", options_.engine},
                {"device", options_.device},
                {"standardize", options_.standardize},
                {"non-finite", options_.non_finite}};
    if (options_.seed) job["seed"] = std::to_string(*options_.seed);
    // A worker computes its batch with one thread; else operators and batches are shared among all.
    if (options_.engine == "loop" || !has_batch_for_each_worker(options_)) {
      job["threads"] = std::to_string(at::get_num_threads());
      job["workers"] = std::to_string(workers(options_));
    }
    return job;
  }

 private:
  [[nodiscard]] std::string chosen_hash() const {
    return io::to_hex(hash_bytes(std::as_bytes(std::span(inputs_.chosen))));
  }

  /// Runs `compute` on a batch; its errors name the batch.
  template <class Compute>
  std::invoke_result_t<const Compute&> in_context(const data::Batch& batch, const Compute& compute) const {
    const auto place = [&] {
      const std::string more =
          batch.indices.size() > 1 ? " and " + std::to_string(batch.indices.size() - 1) + " more" : "";
      return path(batch.indices.front()) + more;
    };
    try {
      return compute();
    } catch (const Error& error) {
      throw Error(error.code(), place() + ": " + error.place(), error.expected(), error.came());
    } catch (const std::bad_alloc&) {
      throw;
    } catch (const std::exception& error) {
      throw Error(ErrorCode::model, place(), "an input that the model takes",
                  c10::str(batch.inputs.sizes()) + ": " + reason(error));
    }
  }

  void check_labels() const {
    const std::string range = "a class from 0 to " + std::to_string(classes_ - 1) + ", as the model has";
    for (const std::size_t sample : inputs_.indices) {
      const data::Item item = inputs_.set->item(sample);
      if (item.label >= classes_) {
        throw Error(ErrorCode::label, "label of " + item.path, range, std::to_string(item.label));
      }
    }
    const bool given = options_.target != "label" && options_.target != "predicted";
    if (given && std::stoll(options_.target) >= classes_) {
      throw Error(ErrorCode::label, "--target", range, options_.target);
    }
  }

  const Options& options_;
  std::unique_ptr<const Method> method_;
  LoadedModel model_;
  visit::Plan plan_;
  Inputs inputs_;
  Fingerprint fingerprint_;
  Index classes_ = 0;
  Boxes boxes_;
};

}  // namespace culprit::cli
