// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "culprit/io/json.hpp"
#include "figures/axis.hpp"
#include "figures/page.hpp"
#include "figures/page_table.hpp"
#include "figures/sample_section.hpp"

namespace culprit::cli {

namespace detail {

/// What changing the filters to blame did, as explain wrote it.
inline figures::PageTable trial_table(const io::Json& json, const figures::ExplainedSample& sample) {
  figures::PageTable table{.caption = "What changing filters does", .columns = {}, .rows = {}};
  table.columns = {{"Change"}};
  std::vector<std::pair<std::string, double>> before;  // keys of a trial, and what was before
  for (const figures::ClassConfidence& one : sample.confidences) {
    if (!one.is_predicted && !one.is_true) continue;
    before.emplace_back(one.is_true ? "true_confidence" : "predicted_confidence", one.confidence);
    table.columns.push_back({one.name, true});
  }
  table.columns.push_back({"Then predicted"});
  const auto add = [&](const std::string& change, const auto& confidence, const std::string& predicted) {
    std::vector<figures::TableCell> row{{change}};
    for (const auto& [key, value] : before) {
      const double share = confidence(key, value);
      row.push_back({figures::percent(share), share});
    }
    row.push_back({predicted});
    table.rows.push_back(std::move(row));
  };
  for (const figures::ClassConfidence& one : sample.confidences) {
    if (one.is_predicted)
      add(
          "none", [](const std::string&, double value) { return value; }, one.name);
  }
  for (const io::Json& trial : json.items()) {
    const std::string which = std::to_string(trial.at("k").as_int()) +
                              (trial.at("selection").as_string() == "most" ? " most salient" : " random");
    const double eta = trial.at("eta").as_double();
    add(
        eta > 0 ? "step of " + figures::readable(eta) + " on " + which : which + " off",
        [&](const std::string& key, double) { return trial.at(key).as_double(); },
        trial.at("prediction_name").as_string());
  }
  return table;
}

}  // namespace detail

/// What a page says above its samples.
/// @param json  profile.json of one of them
inline figures::PageFacts facts_of(const io::Json& json) {
  std::string data = json.at("data").as_string();
  if (const io::Json& all = json.at("chosen_from"); !all.is_null()) {
    data += ": " + std::to_string(all.at("mistakes").as_int()) + " of " +
            std::to_string(all.at("samples").as_int()) + " samples are mistakes";
  }
  const io::Json& fitted = json.at("baseline");
  std::string baseline = std::to_string(fitted.at("samples").as_int()) + " samples";
  if (const io::Json& accuracy = fitted.at("accuracy"); !accuracy.is_null())
    baseline += ", of which the model has " + figures::percent(accuracy.as_double()) + " right";
  const std::string& target = json.at("target").as_string();
  return {{"Model", json.at("model").as_string()},
          {"Data", std::move(data)},
          {"Baseline", baseline + ", " + fitted.at("file").as_string()},
          {"Preprocessing", json.at("preprocessing").as_string()},
          {"Target of the loss", target == "label"       ? "true class"
                                 : target == "predicted" ? "predicted class"
                                                         : "class " + target}};
}

/// The page's view of a sample, without figures.
/// @param json  its profile.json @param png  its picture
inline figures::ExplainedSample explained_sample(const io::Json& json, std::string png) {
  const std::int64_t label = json.at("label").as_int();
  const std::int64_t prediction = json.at("prediction").as_int();
  figures::ExplainedSample sample{
      .name = json.at("path").as_string(), .png = std::move(png), .confidences = {}, .units = {}};
  constexpr std::size_t listed = 5;
  for (const io::Json& one : json.at("classes").items()) {
    const std::int64_t number = one.at("class").as_int();
    if (sample.confidences.size() >= listed && number != label && number != prediction) continue;
    sample.confidences.push_back({one.at("name").as_string(), one.at("confidence").as_double(),
                                  number == label, number == prediction});
  }
  for (const io::Json& unit : json.at("top").items()) {
    sample.units.push_back({unit.at("layer").as_string(),
                            static_cast<std::size_t>(unit.at("channel").as_int()), unit.at("z").as_double(),
                            unit.at("raw").as_double()});
  }
  sample.tables.push_back(detail::trial_table(json.at("trials"), sample));
  return sample;
}

}  // namespace culprit::cli
