// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <torch/types.h>

#include "cli/experiments/masking.hpp"
#include "cli/experiments/study.hpp"
#include "culprit/heat_map.hpp"
#include "culprit/intervene/mask.hpp"
#include "data/image.hpp"
#include "data/preprocess.hpp"
#include "figures/axis.hpp"
#include "figures/colour_map.hpp"
#include "figures/enlarge.hpp"
#include "figures/heat_map_figure.hpp"
#include "figures/picture_rows.hpp"

namespace culprit::cli {

/// The one sample whose steps the experiment mask shows.
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
    for (const intervene::Pixels pixels : {intervene::Pixels::most_salient, intervene::Pixels::random}) {
      figures::PictureRow& row = rows.emplace_back();
      row.title = pixels == intervene::Pixels::random
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
    const torch::Tensor region = masking_.mask(batch_.indices[0], largest, intervene::Pixels::most_salient, 0)
                                     .chosen({input, 0, {}, before_.pixels[0]});
    const data::Batch batch = masking_.batch_of(others);
    std::vector<torch::Tensor> inputs;
    for (std::size_t i = 0; i < others.size(); ++i) {
      const intervene::Mask mask{.keep = study_.session().box(others[i]), .region = region, .fill = input};
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

  [[nodiscard]] static std::string in_percent(double share) { return figures::fixed(100 * share, 4) + " %"; }

  /// What a model's input looks like: the preprocessing's normalisation undone.
  /// @param input  [channels, height, width]
  [[nodiscard]] static data::Image picture_of(const torch::Tensor& input,
                                              const data::Preprocess& preprocess) {
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

}  // namespace culprit::cli
