// SPDX-License-Identifier: MIT
//
// The paper's Figures 7 and 8: what replacing the pixels that drive the filters to blame does to samples that
// the model gets wrong.
#include "culprit/intervene/mask.hpp"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "cli/experiments/effect.hpp"
#include "cli/experiments/experiment.hpp"
#include "cli/experiments/trend_picture.hpp"
#include "cli/policies.hpp"
#include "culprit/heat_map.hpp"
#include "data/image.hpp"
#include "figures/axis.hpp"
#include "figures/colour_map.hpp"
#include "figures/enlarge.hpp"
#include "figures/heat_map_figure.hpp"
#include "figures/picture_rows.hpp"

namespace culprit::cli {

namespace {

using intervene::Mask;
using intervene::Pixels;

constexpr std::array selections{"salient", "random"};

std::string in_percent(double share) { return figures::fixed(100 * share, 4) + " %"; }

/// Mean z over a sample's chosen filters.
double mean_of(const Profile& z, const std::vector<Index>& filters) {
  double sum = 0;
  for (const Index filter : filters) sum += z[filter];
  return sum / static_cast<double>(filters.size());
}

/// The samples of a batch before any of their pixels is replaced.
struct Before {
  torch::Tensor outputs;                    // [B, classes], on the CPU
  std::vector<std::vector<Index>> filters;  // to blame
  std::vector<double> saliency;             // mean z over them
  std::vector<torch::Tensor> pixels;        // how salient each is for them, [H, W], on the CPU
};

/// Which pixels of which sample are replaced: what the options say, and how it is done.
class Masking {
 public:
  explicit Masking(const Study& study)
      : study_(study),
        filters_(selection(study.options().filters, study.baseline().units(), study.seed())),
        shares_(study.options().shares) {
    std::ranges::sort(shares_);
    shares_.erase(std::unique(shares_.begin(), shares_.end()), shares_.end());
  }

  /// Ascending.
  [[nodiscard]] const std::vector<double>& shares() const { return shares_; }

  /// These samples as one batch.
  [[nodiscard]] data::Batch batch_of(const std::vector<std::size_t>& samples) const {
    const Options& options = study_.options();
    data::Loader loader(*study_.session().inputs().set, study_.session().inputs().preprocess,
                        {.batch = samples.size(), .dtype = dtype_of(options), .indices = samples});
    return *loader.begin();
  }

  /// @throws Error (argument) when --filters chooses none
  [[nodiscard]] Before look_at(const data::Batch& batch) const {
    const Session& session = study_.session();
    const engine::BatchResult result = session.profile(batch);
    const std::vector<Profile> z = study_.profiles(result);
    Before before{result.outputs.cpu(), {}, {}, {}};
    for (const InputGradient& one : session.input_saliency(batch, study_.baseline(), filters_)) {
      if (one.boosted.empty()) throw Error(ErrorCode::argument, "--filters", "at least one filter", "none");
      before.saliency.push_back(mean_of(z[before.filters.size()], one.boosted));
      before.filters.push_back(one.boosted);
      before.pixels.push_back(pixel_saliency(one.gradient).cpu());
    }
    return before;
  }

  /// @param share  number of the share @param repeat  of the random pixels
  [[nodiscard]] Mask mask(std::size_t sample, std::size_t share, Pixels pixels, std::size_t repeat) const {
    return {.share = shares_[share],
            .pixels = pixels,
            .keep = study_.session().box(sample),
            .seed = study_.seed_of(sample, repeat * shares_.size() + share)};
  }

  [[nodiscard]] data::Batch masked(const data::Batch& batch, const Before& before, std::size_t share,
                                   Pixels pixels, std::size_t repeat) const {
    std::vector<torch::Tensor> inputs;
    for (std::size_t i = 0; i < batch.indices.size(); ++i) {
      inputs.push_back(mask(batch.indices[i], share, pixels,
                            repeat)({batch.inputs[static_cast<Index>(i)], 0, {}, before.pixels[i]}));
    }
    return {torch::stack(inputs), batch.labels, batch.indices};
  }

 private:
  const Study& study_;
  AnySelection filters_;
  std::vector<double> shares_;
};

/// What one selection of pixels did, at one share of them.
struct Change {
  Effect effect;
  std::vector<double> saliency;  ///< of the filters to blame: mean z after minus before

  explicit Change(std::size_t samples) : effect(samples), saliency(samples) {}

  static constexpr Index numbers = Effect::numbers + 1;

  /// From what rows() gave.
  explicit Change(const torch::Tensor& rows) : effect(rows) {
    for (Index i = 0; i < rows.size(0); ++i) saliency.push_back(rows[i][Effect::numbers].item<double>());
  }

  /// [samples, numbers], float64.
  [[nodiscard]] torch::Tensor rows() const {
    return torch::cat({effect.rows(), torch::tensor(saliency, torch::kFloat64).unsqueeze(1)}, 1);
  }
};

/// The sample that is wrong with the most confidence.
struct Case {
  std::size_t sample = 0;
  double confidence = 0;
};

/// Effects by selection and share.
struct Changes {
  std::vector<std::vector<Change>> all;
  Case surest;
};

Changes measure(const Study& study, const Masking& masking, const std::vector<std::size_t>& mistakes) {
  const Session& session = study.session();
  const std::size_t shares = masking.shares().size();
  Stage stage = study.stage("mask", "mask", mistakes.size());
  for (const data::Batch& batch : session.loader(stage.left_of(mistakes))) {
    const Before before = masking.look_at(batch);
    const auto add = [&](Change& change, std::size_t selection, std::size_t share, std::size_t repeat,
                         double weight) {
      const Pixels pixels = selection == 0 ? Pixels::most_salient : Pixels::random;
      const engine::BatchResult result =
          session.profile(masking.masked(batch, before, share, pixels, repeat));
      change.effect.add(weight, before.outputs, result.outputs.cpu(), batch.labels);
      const std::vector<Profile> z = study.profiles(result);
      for (std::size_t i = 0; i < z.size(); ++i)
        change.saliency[i] += weight * (mean_of(z[i], before.filters[i]) - before.saliency[i]);
    };
    std::vector<torch::Tensor> columns;  // by share and selection, then the confidence before
    for (std::size_t share = 0; share < shares; ++share) {
      Change salient(batch.indices.size()), random(batch.indices.size());
      add(salient, 0, share, 0, 1.0);
      const std::size_t repeats = study.options().repeats;
      for (std::size_t repeat = 0; repeat < repeats; ++repeat)
        add(random, 1, share, repeat, 1.0 / static_cast<double>(repeats));
      columns.push_back(salient.rows());
      columns.push_back(random.rows());
    }
    columns.push_back(confidence(before.outputs, before.outputs.argmax(1)).unsqueeze(1));
    stage.put(torch::cat(columns, 1));
  }
  const torch::Tensor rows = stage.all();
  Changes changes;
  changes.all.resize(selections.size());
  for (std::size_t i = 0; i < shares * selections.size(); ++i) {
    changes.all[i % selections.size()].emplace_back(
        rows.narrow(1, static_cast<Index>(i) * Change::numbers, Change::numbers));
  }
  for (std::size_t i = 0; i < mistakes.size(); ++i) {
    const auto value = rows[static_cast<Index>(i)][-1].item<double>();
    if (value > changes.surest.confidence) changes.surest = {mistakes[i], value};
  }
  return changes;
}

void fill_table(Table& table, const Study& study, const std::vector<double>& shares,
                const std::vector<std::vector<Change>>& changes) {
  table.columns = {"selection",     "share",          "samples",         "wrong_change", "wrong_low",
                   "wrong_high",    "true_change",    "true_low",        "true_high",    "corrected",
                   "corrected_low", "corrected_high", "saliency_change", "saliency_low", "saliency_high",
                   "wrong_t",       "wrong_p",        "true_t",          "true_p"};
  for (std::size_t selection = 0; selection < selections.size(); ++selection) {
    for (std::size_t share = 0; share < shares.size(); ++share) {
      const Change& change = changes[selection][share];
      std::vector<io::Json> row{selections[selection], shares[share], change.saliency.size()};
      for (const auto* values : {&change.effect.wrong_change, &change.effect.true_change,
                                 &change.effect.corrected, &change.saliency})
        append(row, study.interval(*values));
      const Effect& salient = changes[0][share].effect;
      const Effect& random = changes[1][share].effect;
      for (const TTest& test : {paired_t_test(salient.wrong_change, random.wrong_change),
                                paired_t_test(salient.true_change, random.true_change)}) {
        row.push_back(std::isfinite(test.t) ? io::Json(test.t) : io::Json("infinite"));
        row.emplace_back(test.p);
      }
      table.rows.push_back(std::move(row));
    }
  }
}

std::vector<Picture> trends(const Table& table) {
  const auto picture = [&](const std::string& value, const std::string& stem, const std::string& title,
                           const std::string& what, bool percent) {
    return trend_picture(table, {"share", value, stem + "_low", stem + "_high"}, "mask-" + stem,
                         {.title = title,
                          .value_name = what,
                          .position_name = "share of all pixels that is replaced",
                          .spacing = figures::Spacing::linear,
                          .percent = percent});
  };
  return {picture("wrong_change", "wrong", "Confidence in the wrong class with pixels replaced",
                  "change of confidence in the class that was predicted", true),
          picture("true_change", "true", "Confidence in the true class with pixels replaced",
                  "change of confidence in the true class", true),
          picture("corrected", "corrected", "Wrong samples corrected by replacing pixels",
                  "share of samples then right", true),
          picture("saliency_change", "saliency", "Saliency of the filters to blame with pixels replaced",
                  "change of their mean z, in standard deviations", false)};
}

/// What a model's input looks like: the preprocessing's normalisation undone.
/// @param input  [channels, height, width]
data::Image picture_of(const torch::Tensor& input, const data::Preprocess& preprocess) {
  const auto by_channel = [](const std::vector<double>& values) {
    return torch::tensor(values, torch::kFloat64).view({-1, 1, 1});
  };
  const torch::Tensor shares =
      input.to(torch::kFloat64) * by_channel(preprocess.std) + by_channel(preprocess.mean);
  const torch::Tensor bytes =
      (255 * shares).round().clamp(0, 255).to(torch::kUInt8).permute({1, 2, 0}).contiguous();
  const auto* const first = bytes.const_data_ptr<std::uint8_t>();
  return {static_cast<int>(bytes.size(1)),
          static_cast<int>(bytes.size(0)),
          static_cast<int>(bytes.size(2)),
          {first, first + bytes.numel()}};
}

/// The one sample whose steps are shown.
class CaseStudy {
 public:
  CaseStudy(const Study& study, const Masking& masking, std::size_t sample)
      : study_(study),
        masking_(masking),
        batch_(masking.batch_of({sample})),
        before_(masking.look_at(batch_)),
        label_(batch_.labels[0].item<Index>()),
        wrong_(before_.outputs[0].argmax().item<Index>()) {}

  void show_steps(Results& results) const {
    const std::string name = study_.session().path(batch_.indices[0]);
    results.facts.emplace_back("case study", name);
    const data::Image original = picture_of(batch_.inputs[0], preprocess());
    std::vector<figures::PictureRow> rows{
        {"What the model sees, and the pixels that drive the filters to blame",
         {captioned("original", batch_.inputs[0], before_.outputs[0]),
          {"heat map", png(heat_map(original)), {}}}}};
    for (const Pixels pixels : {Pixels::most_salient, Pixels::random}) {
      figures::PictureRow& row = rows.emplace_back();
      row.title = pixels == Pixels::random
                      ? "As many random pixels (one draw) replaced by the data set's mean"
                      : "The most salient pixels replaced by the data set's mean";
      for (std::size_t share = 0; share < masking_.shares().size(); ++share) {
        const data::Batch masked = masking_.masked(batch_, before_, share, pixels, 0);
        row.pictures.push_back(captioned(in_percent(masking_.shares()[share]), masked.inputs[0],
                                         study_.session().forward(masked).cpu()[0]));
      }
    }
    add_picture(results, "mask-steps",
                "The most confident mistake with its pixels replaced: " + class_name(wrong_) +
                    " instead of " + class_name(label_),
                rows, name + (study_.session().box(batch_.indices[0]) ? ": its box stays untouched" : ""));
  }

  /// Pastes the most salient pixels, the largest share of them, onto other images of the true class.
  void paste(Results& results) const {
    std::vector<std::size_t> others;
    for (const Verdict& verdict : study_.verdicts()) {
      const bool fits = verdict.label == label_ && verdict.predicted == label_;
      if (!fits || others.size() >= study_.options().paste) continue;
      if (masking_.batch_of({verdict.sample}).inputs[0].sizes() == batch_.inputs[0].sizes())
        others.push_back(verdict.sample);
    }
    results.facts.emplace_back("pasted onto", others.size());
    if (others.empty()) return;
    const std::size_t largest = masking_.shares().size() - 1;
    const torch::Tensor input = batch_.inputs[0];
    const torch::Tensor region = masking_.mask(batch_.indices[0], largest, Pixels::most_salient, 0)
                                     .chosen({input, 0, {}, before_.pixels[0]});
    const data::Batch batch = masking_.batch_of(others);
    std::vector<torch::Tensor> inputs;
    for (std::size_t i = 0; i < others.size(); ++i) {
      const Mask mask{.keep = study_.session().box(others[i]), .region = region, .fill = input};
      inputs.push_back(mask({batch.inputs[static_cast<Index>(i)]}));
    }
    const data::Batch pasted{torch::stack(inputs), batch.labels, others};
    const torch::Tensor before = study_.session().forward(batch).cpu();
    const torch::Tensor after = study_.session().forward(pasted).cpu();
    fill_paste_table(results, batch, before, after);

    const std::string share = in_percent(masking_.shares()[largest]);
    const torch::Tensor alone = torch::where(region, input, torch::zeros_like(input));
    std::vector<figures::PictureRow> rows{
        {"The mistake, and its most salient pixels (" + share + ')',
         {captioned("mistake", input, before_.outputs[0]),
          {"pixels to paste", png(picture_of(alone, preprocess())), {}}}},
        {"Other images of the class " + class_name(label_) + ", which the model gets right", {}},
        {"With these pixels pasted", {}}};
    for (std::size_t i = 0; i < others.size(); ++i) {
      const auto row = static_cast<Index>(i);
      const std::string name = study_.session().path(others[i]);
      rows[1].pictures.push_back(captioned(name, batch.inputs[row], before[row]));
      rows[2].pictures.push_back(captioned(name, pasted.inputs[row], after[row]));
    }
    add_picture(results, "mask-paste",
                "Pixels that make the model see " + class_name(wrong_) + ", pasted onto other images", rows,
                "Pixels of " + study_.session().path(batch_.indices[0]));
  }

 private:
  [[nodiscard]] const data::Preprocess& preprocess() const { return study_.session().inputs().preprocess; }
  [[nodiscard]] std::string class_name(Index of) const { return study_.session().inputs().names.name(of); }
  [[nodiscard]] static std::string png(const data::Image& image) {
    return data::encode_png(figures::enlarged(image));
  }

  /// @param outputs  [classes]
  [[nodiscard]] figures::CaptionedPicture captioned(std::string name, const torch::Tensor& input,
                                                    const torch::Tensor& outputs) const {
    const torch::Tensor confidences = outputs.to(torch::kFloat64).softmax(0);
    figures::CaptionedPicture one{std::move(name), png(picture_of(input, preprocess())), {}};
    one.lines.push_back("predicted: " + class_name(outputs.argmax().item<Index>()));
    for (const Index of : {wrong_, label_})
      one.lines.push_back(class_name(of) + ' ' + figures::percent(confidences[of].item<double>()));
    return one;
  }

  [[nodiscard]] data::Image heat_map(const data::Image& original) const {
    const HeatMap look;
    const torch::Tensor& pixels = before_.pixels[0];
    const torch::Tensor heat = look(pixels, look.scale({&pixels, 1})).to(torch::kFloat32);
    const auto* const first = heat.const_data_ptr<float>();
    return figures::overlay(
        original,
        {.width = original.width, .height = original.height, .values = {first, first + heat.numel()}},
        figures::colour_map(study_.options().colors));
  }

  static void add_picture(Results& results, const std::string& file, const std::string& title,
                          const std::vector<figures::PictureRow>& rows, const std::string& note) {
    const auto draw = [&](double width) {
      return figures::picture_rows_svg(rows, {.title = title, .note = note, .width = width});
    };
    results.pictures.push_back({file, title, draw(960), draw(380)});
  }

  void fill_paste_table(Results& results, const data::Batch& batch, const torch::Tensor& before,
                        const torch::Tensor& after) const {
    Table table{{"path", "label", "predicted_before", "predicted_after", "wrong_change", "true_change"}, {}};
    const torch::Tensor change = after.to(torch::kFloat64).softmax(1) - before.to(torch::kFloat64).softmax(1);
    for (Index i = 0; i < before.size(0); ++i) {
      table.rows.push_back({study_.session().path(batch.indices[static_cast<std::size_t>(i)]), label_,
                            before[i].argmax().item<Index>(), after[i].argmax().item<Index>(),
                            change[i][wrong_].item<double>(), change[i][label_].item<double>()});
    }
    results.further.emplace_back("mask-paste", std::move(table));
  }

  const Study& study_;
  const Masking& masking_;
  data::Batch batch_;
  Before before_;
  Index label_, wrong_;
};

}  // namespace

Results mask_experiment(const Study& study) {
  const Options& options = study.options();
  const std::vector<std::size_t> mistakes = study.mistakes();
  if (mistakes.size() < 2)
    throw Error(ErrorCode::argument, "experiment", "two wrong samples or more, to test", "one");
  const Masking masking(study);
  const Changes changes = measure(study, masking, mistakes);

  Results results{.name = "mask", .table = {}, .facts = {}, .pictures = {}};
  fill_table(results.table, study, masking.shares(), changes.all);
  results.pictures = trends(results.table);
  const auto has_box = [&](std::size_t sample) { return study.session().box(sample).has_value(); };
  results.facts = {{"samples", study.verdicts().size()},
                   {"wrong", mistakes.size()},
                   {"with a box", std::ranges::count_if(mistakes, has_box)},
                   {"filters", options.filters},
                   {"boost", options.boost},
                   {"random draws", options.repeats}};
  const CaseStudy one(study, masking, changes.surest.sample);
  one.show_steps(results);
  one.paste(results);
  return results;
}

}  // namespace culprit::cli
