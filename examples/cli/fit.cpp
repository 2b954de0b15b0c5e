// SPDX-License-Identifier: MIT
#include "cli/fit.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <iostream>
#include <iterator>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "cli/checkpoints.hpp"
#include "cli/outputs.hpp"
#include "cli/progress.hpp"
#include "cli/session.hpp"
#include "cli/summary.hpp"
#include "cli/text.hpp"
#include "culprit/core/moments.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"
#include "culprit/tensor.hpp"

namespace culprit::cli {

namespace {

/// "layer1.0.conv1.weight:3, ...", the first few of many.
std::string names_of(const Units& units, const std::vector<Index>& list) {
  constexpr std::size_t most = 5;
  std::string text;
  for (std::size_t i = 0; i < std::min(most, list.size()); ++i) {
    const Unit unit = units.unit(list[i]);
    text += (i == 0 ? "" : ", ") + units.layers()[static_cast<std::size_t>(unit.layer)].name + ':' +
            std::to_string(unit.channel);
  }
  return list.size() > most ? text + ", ..." : text;
}

void print_units(const Baseline& baseline) {
  const Units& units = baseline.units();
  print_row("units",
            std::to_string(units.size()) + " in " + std::to_string(units.layers().size()) + " layers");
  const std::vector<Index> dead = baseline.dead();
  print_row("dead", dead.empty()
                        ? "none"
                        : std::to_string(dead.size()) + " that no sample moves: " + names_of(units, dead));
  Index unused = 0;
  std::string layers;
  for (const Layer& layer : units.layers()) {
    if (layer.uses != 0) continue;
    unused += layer.count;
    layers += (layers.empty() ? "" : ", ") + layer.name;
  }
  if (unused > 0)
    print_row("unused", std::to_string(unused) + " that the model does not use in eval mode: " + layers);
}

/// What a fit has of the samples so far.
struct FitState {
  Moments moments;
  std::optional<Quantiles> quantiles;
  Index right = 0;    ///< samples that the model is right about
  Index skipped = 0;  ///< samples with NaN or infinity in their gradients

  explicit FitState(const Session& session) : moments(session.units().size()) {
    if (session.method().needs_quantiles()) quantiles.emplace(session.units().size());
  }

  [[nodiscard]] std::size_t done() const { return static_cast<std::size_t>(moments.count() + skipped); }

  void add(const engine::BatchResult& result, const torch::Tensor& labels) {
    const torch::Tensor finite = finite_samples(result.profiles);
    const RowMatrix raw = to_matrix(result.profiles.index({finite}));
    moments.add(raw);
    if (quantiles) quantiles->add(raw);
    right += count_right(result.outputs, labels);
    skipped += labels.size(0) - raw.rows();
  }

  /// @param save  takes the tensors of a checkpoint
  template <class Save>
  void save(const Save& save) const {
    const std::vector<std::int64_t> counts{moments.count(), right, skipped};
    Checkpoints::Tensors tensors{{"counts", io::view_of(std::span<const std::int64_t>(counts), {3})},
                                 {"mean", io::view_of(moments.mean())},
                                 {"squares", io::view_of(moments.squares())}};
    std::optional<io::QuantileLists> lists;
    if (quantiles) {
      lists.emplace(*quantiles);
      lists->append_to(tensors);
    }
    save(tensors);
  }

  /// @throws Error for what save() cannot have given for these samples
  void restore(const io::Safetensors& checkpoint, const Session& session) {
    const auto counts = checkpoint.read<std::int64_t>("counts");
    const auto samples = static_cast<std::int64_t>(session.inputs().indices.size());
    const auto in_range = [&](std::int64_t count) { return count >= 0 && count <= samples; };
    if (counts.size() != 3 || !std::ranges::all_of(counts, in_range) || counts[0] + counts[2] > samples) {
      throw Error(ErrorCode::format, "counts", "numbers of the " + std::to_string(samples) + " samples",
                  "other numbers");
    }
    moments = Moments::restored(counts[0], io::read_vector(checkpoint, "mean", "checkpoint"),
                                io::read_vector(checkpoint, "squares", "checkpoint"));
    right = counts[1];
    skipped = counts[2];
    const bool wanted = quantiles.has_value();
    quantiles = io::read_quantiles(checkpoint, "checkpoint");
    if (quantiles.has_value() != wanted)
      throw Error(ErrorCode::format, "quantiles", wanted ? "some" : "none", wanted ? "none" : "some");
    (void)Baseline(session.shared_units(), moments, session.fingerprint(), quantiles, skipped);
  }
};

/// A baseline file that is one part of a whole.
struct Part {
  std::string file;
  std::map<std::string, std::string> metadata;
  io::Json data;  ///< of the metadata
  Baseline baseline;

  std::int64_t first = 0;    ///< place in all chosen samples of the part's first
  std::int64_t samples = 0;  ///< in the part, those left out too
  std::int64_t all = 0;      ///< chosen samples
  std::int64_t right = 0;    ///< samples that the model is right about

  explicit Part(const std::string& path)
      : file(path), metadata(io::Safetensors::open(path).metadata()), baseline(io::load_baseline(path)) {
    try {
      data = io::parse_json(text("data"), "metadata data");
      first = data.at("first").as_int();
      samples = data.at("samples").as_int();
      all = data.at("chosen").at("samples").as_int();
      right = io::parse_json(text("right"), "metadata right").as_int();
    } catch (const Error& error) {
      throw Error(error.code(), file + ", " + error.place(), error.expected(), error.came());
    }
    const bool possible = first >= 0 && first <= all && samples >= 0 && samples <= all - first &&
                          samples == baseline.count() + baseline.skipped() && right >= 0 && right <= samples;
    if (!possible) {
      throw Error(ErrorCode::format, file, "numbers of samples that agree with each other",
                  "metadata data " + text("data") + " and right " + text("right"));
    }
  }

  [[nodiscard]] const std::string& text(const std::string& key) const {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      throw Error(ErrorCode::format, "metadata " + key, "what culprit fit wrote", "none");
    return found->second;
  }

  /// What has to be the same in all parts, beside what a baseline belongs to.
  [[nodiscard]] io::Job whole() const {
    io::Job names{{"chosen samples", io::dump(data.at("chosen"))},
                  {"data", io::dump(data.at("fingerprint"))}};
    for (const char* const key : {"dtype", "seed"}) {
      const auto found = metadata.find(key);
      names.emplace(key, found == metadata.end() ? "none" : found->second);
    }
    return names;
  }
};

/// @throws Error (baseline) naming the file and the first thing in which it differs from the part
void require_same_whole(const Part& part, const Part& other) {
  const io::Job expected = part.whole();
  for (const auto& [name, came] : other.whole()) {
    if (came == expected.at(name)) continue;
    throw Error(ErrorCode::baseline, other.file, name + ' ' + expected.at(name) + ", as in " + part.file,
                came);
  }
}

/// @param parts  in the samples' order @throws Error (baseline) naming samples that are in none, or in two
void require_each_sample_once(const std::vector<Part>& parts) {
  const auto missing = [](std::int64_t begin, std::int64_t end) {
    throw Error(ErrorCode::baseline, "parts", "each chosen sample in one of them",
                "none with samples " + std::to_string(begin) + " to " + std::to_string(end - 1));
  };
  std::int64_t end = 0;
  for (auto part = parts.begin(); part != parts.end(); ++part) {
    if (part->first > end) missing(end, part->first);
    if (part->samples > 0 && part->first < end) {
      throw Error(ErrorCode::baseline, part->file,
                  "samples from " + std::to_string(end) + " on, behind " + std::prev(part)->file,
                  "sample " + std::to_string(part->first) + " a second time");
    }
    end = std::max(end, part->first + part->samples);
  }
  if (end < parts.front().all) missing(end, parts.front().all);
}

/// @throws Error (numeric) for a baseline of no sample
void require_some(Index samples) {
  if (samples == 0) {
    throw Error(ErrorCode::numeric, "baseline", "at least one sample with finite gradients", "none");
  }
}

/// All, those left out too.
Index samples_of(const Baseline& baseline) { return baseline.count() + baseline.skipped(); }

void write(const Options& options, const Baseline& baseline, Index right,
           std::map<std::string, std::string> metadata) {
  metadata["right"] = std::to_string(right);
  metadata["accuracy"] = formatted(
      "%.6g", static_cast<double>(right) / static_cast<double>(std::max<Index>(1, samples_of(baseline))));
  io::save_baseline(options.out, baseline, std::move(metadata));
}

void print(const Options& options, const Baseline& baseline, Index right) {
  if (samples_of(baseline) > 0)
    print_row("accuracy", percent(right, samples_of(baseline)) + ", " + std::to_string(right) + " right");
  if (baseline.skipped() > 0)
    print_row("skipped", std::to_string(baseline.skipped()) + " with NaN or infinity in their gradients");
  print_units(baseline);
  print_row("written", options.out);
}

}  // namespace

void fit(const Options& options) {
  check_output_file(options.out);
  const Session session(options);
  auto metadata = session.metadata();  // before the long work: it may be refused
  FitState fit(session);
  Checkpoints checkpoints(options, session.job("fit"));
  const std::vector<std::size_t>& samples = session.inputs().indices;
  checkpoints.load([&](const io::Safetensors& checkpoint) { fit.restore(checkpoint, session); });
  const std::size_t before = fit.done();  // by earlier runs
  data::Loader loader =
      session.loader({samples.begin() + static_cast<std::ptrdiff_t>(before), samples.end()});
  double seconds = 0;
  {
    Progress progress("fit", samples.size(), before);
    for (const data::Batch& batch : loader) {
      fit.add(session.profile(batch), batch.labels);
      progress.update(fit.done());
      if (fit.done() < samples.size())
        checkpoints.offer(fit.done(), [&](const auto& save) { fit.save(save); });
    }
    seconds = progress.seconds();
  }
  if (options.shards == 1) require_some(fit.moments.count());
  const Baseline baseline(session.shared_units(), std::move(fit.moments), session.fingerprint(),
                          std::move(fit.quantiles), fit.skipped);
  write(options, baseline, fit.right, std::move(metadata));
  checkpoints.remove();

  print_speed("fitted", seconds, loader);
  if (before > 0) print_row("went on", "from " + std::to_string(before) + " samples of an earlier run");
  print(options, baseline, fit.right);
}

void merge(const Options& options) {
  check_output_file(options.out);
  std::vector<Part> parts;
  for (const std::string& file : options.parts) parts.emplace_back(file);
  std::ranges::sort(parts, {}, [](const Part& part) { return std::pair(part.first, part.samples); });
  for (const Part& part : parts) require_same_whole(parts.front(), part);
  require_each_sample_once(parts);

  Baseline baseline = parts.front().baseline;
  Index right = parts.front().right;
  for (auto part = parts.begin() + 1; part != parts.end(); ++part) {
    try {
      baseline.merge(part->baseline);
    } catch (const Error& error) {
      throw Error(error.code(), part->file, error.expected(), error.came());
    }
    right += part->right;
  }
  require_some(baseline.count());
  std::map<std::string, std::string> metadata;
  for (const char* const key : {"model", "dtype", "seed"}) {
    const auto found = parts.front().metadata.find(key);
    if (found != parts.front().metadata.end()) metadata.insert(*found);
  }
  io::Json data = parts.front().data;
  data.set("samples", samples_of(baseline));
  data.set("first", 0);
  metadata["data"] = io::dump(data);
  write(options, baseline, right, std::move(metadata));

  print_row("merged",
            std::to_string(samples_of(baseline)) + " samples of " + std::to_string(parts.size()) + " parts");
  print(options, baseline, right);
}

}  // namespace culprit::cli
