// SPDX-License-Identifier: MIT
#include "cli/explain.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "cli/explanation.hpp"
#include "cli/outputs.hpp"
#include "cli/progress.hpp"
#include "cli/session.hpp"
#include "cli/text.hpp"
#include "culprit/io/safetensors.hpp"
#include "culprit/tensor.hpp"

namespace culprit::cli {

namespace {

/// The wrong samples, the one that the model is most sure of first.
std::vector<std::size_t> all_wrong(const Session& session) {
  struct Mistake {
    double confidence;
    std::size_t sample;
  };
  std::vector<Mistake> mistakes;
  data::Loader loader = session.loader(session.inputs().indices);
  Progress progress("looking for mistakes", loader.size());
  std::size_t done = 0;
  for (const data::Batch& batch : loader) {
    const auto [confidence, predicted] = session.forward(batch).to(torch::kFloat64).softmax(1).cpu().max(1);
    for (Index i = 0; i < batch.labels.size(0); ++i) {
      if (predicted[i].item<Index>() == batch.labels[i].item<Index>()) continue;
      mistakes.push_back({confidence[i].item<double>(), batch.indices[static_cast<std::size_t>(i)]});
    }
    done += batch.indices.size();
    progress.update(done);
  }
  std::stable_sort(mistakes.begin(), mistakes.end(),
                   [](const Mistake& a, const Mistake& b) { return a.confidence > b.confidence; });
  std::vector<std::size_t> samples;
  for (const Mistake& mistake : mistakes) samples.push_back(mistake.sample);
  return samples;
}

/// Of the samples of a baseline's file, what share of 1 the model is right about, where it says so.
std::optional<double> accuracy_of(const std::string& baseline) {
  const auto metadata = io::Safetensors::open(baseline).metadata();
  const auto found = metadata.find("accuracy");
  return found == metadata.end() ? std::nullopt : std::optional(std::strtod(found->second.c_str(), nullptr));
}

/// Says where the most salient filters are none that stand out.
void warn_of_dead_boost(const Explanation& sample, const std::string& filters) {
  const auto boosted = static_cast<Index>(sample.saliency.boosted.size());
  const Index salient = sample.saliency.salient();
  if (!filters.starts_with("top:") || salient == boosted) return;
  std::fprintf(stderr, "culprit: warning: %s: of its %lld most salient filters %lld have z > 0: %s\n",
               one_line(sample.path).c_str(), static_cast<long long>(boosted),
               static_cast<long long>(salient),
               salient == 0 ? "its heat map may be rounding noise" : "the others do not stand out");
}

}  // namespace

void explain(const Options& options) {
  check_output_folder(options.out);
  const Session session(options);
  const Baseline baseline = session.baseline();
  const Inputs& inputs = session.inputs();
  const AnySelection filters = selection(options.filters, baseline.units(), options.seed.value_or(0));
  const bool search = options.image.empty();
  std::vector<std::size_t> chosen = search ? all_wrong(session) : inputs.indices;
  const std::size_t mistakes = chosen.size();
  if (search) chosen.resize(std::min(options.wrong, mistakes));
  if (chosen.empty()) {
    std::cout << "All " << inputs.indices.size() << " samples are right: nothing to explain.\n";
    return;
  }

  std::vector<Explanation> samples;
  data::Loader loader = session.loader(chosen);
  std::optional<Progress> progress;
  if (chosen.size() > 1) progress.emplace("explain", loader.size());
  for (const data::Batch& batch : loader) {
    const engine::BatchResult result = session.profile(batch);
    std::vector<InputGradient> saliencies = session.input_saliency(batch, baseline, filters);
    const RowMatrix raw = to_matrix(result.profiles);
    const RowMatrix confidences = to_matrix(result.outputs.to(torch::kFloat64).softmax(1));
    for (std::size_t i = 0; i < batch.indices.size(); ++i) {
      const auto row = static_cast<Index>(i);
      const data::Item item = inputs.set->item(batch.indices[i]);
      const Profile profile(baseline.shared_units(), raw.row(row));
      samples.push_back(
          {.path = item.path,
           .label = item.label,
           .prediction = result.outputs[row].argmax().item<Index>(),
           .loss = result.losses[row].item<double>(),
           .confidences = {confidences.row(row).begin(), confidences.row(row).end()},
           .picture = inputs.preprocess.geometry(inputs.set->image(batch.indices[i]), item.path),
           .raw = profile,
           .saliency = std::move(saliencies[i]),
           .trials = {}});
      Explanation& sample = samples.back();
      // Profiles and input saliency come from two passes, each with roundings of its own: one z, that of
      // `raw`.
      sample.saliency.profile = session.method().standardize(sample.raw, baseline);
      sample.trials =
          try_changes(session.plan(), session.on_device(batch.inputs[row]), sample.label, sample.prediction,
                      sample.saliency.profile, options.seed.value_or(0) + batch.indices[i]);
    }
    if (progress) progress->update(samples.size());
  }
  progress.reset();
  for (const Explanation& sample : samples) warn_of_dead_boost(sample, options.filters);
  const ExplanationContext context{.options = options,
                                   .baseline = baseline,
                                   .names = inputs.names,
                                   .preprocessing = inputs.preprocess.description(),
                                   .accuracy = accuracy_of(options.baseline),
                                   .searched = search ? inputs.indices.size() : 0,
                                   .mistakes = mistakes};
  const auto folders = write(options.out, samples, context);
  for (std::size_t i = 0; i < samples.size(); ++i) {
    print(std::cout, samples[i], context);
    std::cout << "\n  " << padded("files", 12) << folders[i].string() << "\n\n";
  }
  print_row("written", (std::filesystem::path(options.out) / "explain.html").string());
}

}  // namespace culprit::cli
