// SPDX-License-Identifier: MIT
#include "cli/fit.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "cli/checkpoints.hpp"
#include "cli/outputs.hpp"
#include "cli/parts.hpp"
#include "cli/progress.hpp"
#include "cli/session.hpp"
#include "cli/summary.hpp"
#include "cli/text.hpp"
#include "culprit/core/moments_tree.hpp"
#include "culprit/distributed/process_group.hpp"
#include "culprit/distributed/world.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/mapped_file.hpp"
#include "culprit/io/moments_tensors.hpp"
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
class FitState {
 public:
  FitState(const Session& session, const Options& options)
      : batch_(static_cast<Index>(options.batch)),
        first_(static_cast<Index>(session.inputs().first)),
        all_(static_cast<Index>(session.inputs().indices.size())),
        moments_(session.units().size()) {
    if (session.method().needs_quantiles()) quantiles_.emplace(session.units().size());
  }

  [[nodiscard]] const MomentsTree& moments() const { return moments_; }
  [[nodiscard]] Index right() const { return right_; }
  [[nodiscard]] std::size_t done() const { return static_cast<std::size_t>(done_); }

  /// @param result  of whole batches, but for the last
  void add(const engine::BatchResult& result, const torch::Tensor& labels) {
    for (Index begin = 0; begin < labels.size(0); begin += batch_) {
      const Index count = std::min(batch_, labels.size(0) - begin);
      const torch::Tensor profiles = result.profiles.narrow(0, begin, count);
      const RowMatrix raw = to_matrix(profiles.index({finite_samples(profiles)}));
      moments_.add((first_ + done_) / batch_, Moments::of_samples(raw));
      if (quantiles_) quantiles_->add(raw);
      done_ += count;
    }
    right_ += count_right(result.outputs, labels);
  }

  /// @param save  takes the tensors of a checkpoint
  template <class Save>
  void save(const Save& save) const {
    const std::vector<std::int64_t> counts{done_, right_};
    const io::MomentsTensors sums(moments_);
    Checkpoints::Tensors tensors{{"counts", io::view_of(std::span<const std::int64_t>(counts), {2})}};
    sums.append_to(tensors);
    std::optional<io::QuantileLists> lists;
    if (quantiles_) {
      lists.emplace(*quantiles_);
      lists->append_to(tensors);
    }
    save(tensors);
  }

  /// @throws Error for what save() cannot have given for these samples
  void restore(const io::Safetensors& checkpoint, const Session& session) {
    const auto counts = checkpoint.read<std::int64_t>("counts");
    if (counts.size() != 2 || counts[0] < 0 || counts[0] > all_ || counts[1] < 0 || counts[1] > counts[0]) {
      throw Error(ErrorCode::format, "counts", "numbers of the " + std::to_string(all_) + " samples",
                  "other numbers");
    }
    done_ = counts[0];
    right_ = counts[1];
    moments_ = io::read_moments(checkpoint, moments_.units(), "checkpoint");
    if (!moments_.covers(first_ / batch_, (first_ + done_ + batch_ - 1) / batch_))
      throw Error(ErrorCode::format, "moments", "those of " + std::to_string(done_) + " samples", "others");
    const bool wanted = quantiles_.has_value();
    quantiles_ = io::read_quantiles(checkpoint, "checkpoint");
    if (quantiles_.has_value() != wanted)
      throw Error(ErrorCode::format, "quantiles", wanted ? "some" : "none", wanted ? "none" : "some");
    (void)baseline(session);
  }

  [[nodiscard]] Baseline baseline(const Session& session) const {
    Moments total = moments_.total();
    const Index skipped = done_ - total.count();
    return Baseline(session.shared_units(), std::move(total), session.fingerprint(), quantiles_, skipped);
  }

 private:
  Index batch_;
  Index first_;  ///< number of the shard's first sample
  Index all_;    ///< samples of the shard
  MomentsTree moments_;
  std::optional<Quantiles> quantiles_;
  Index done_ = 0;
  Index right_ = 0;  ///< samples that the model is right about
};

/// A baseline file that is one part of a whole.
struct BaselinePart : Part {
  Baseline baseline;
  MomentsTree moments;

  explicit BaselinePart(const std::string& path)
      : Part(path, io::Safetensors::open(path).metadata()),
        baseline(io::load_baseline(path)),
        moments(baseline.units().size()) {
    const io::Safetensors tensors = io::Safetensors::open(path);
    if (!tensors.contains("moments_first"))
      throw Error(ErrorCode::argument, path, "what culprit fit --shard wrote", "a whole baseline");
    moments = io::read_moments(tensors, moments.units(), path);
    if (samples != baseline.count() + baseline.skipped() || moments.count() != baseline.count()) refuse();
  }
};

/// @throws Error (numeric) for a baseline of no sample
void require_some(Index samples) {
  if (samples == 0) {
    throw Error(ErrorCode::numeric, "baseline", "at least one sample with finite gradients", "none");
  }
}

/// All, those left out too.
Index samples_of(const Baseline& baseline) { return baseline.count() + baseline.skipped(); }

/// @param more  tensors of the file
void write(const Options& options, const Baseline& baseline, Index right,
           std::map<std::string, std::string> metadata, const Checkpoints::Tensors& more = {}) {
  metadata["right"] = std::to_string(right);
  metadata["accuracy"] = formatted(
      "%.6g", static_cast<double>(right) / static_cast<double>(std::max<Index>(1, samples_of(baseline))));
  io::save_baseline(options.out, baseline, std::move(metadata), more);
}

void print(const Options& options, const Baseline& baseline, Index right) {
  if (samples_of(baseline) > 0)
    print_row("accuracy", percent(right, samples_of(baseline)) + ", " + std::to_string(right) + " right");
  if (baseline.skipped() > 0)
    print_row("skipped", std::to_string(baseline.skipped()) + " with NaN or infinity in their gradients");
  print_units(baseline);
  print_row("written", options.out);
}

/// Fits the samples of the options' shard.
/// @param world  of many processes: nothing is printed then, and all that was done is in the checkpoint
/// @return what is to be removed when the result is safe
Checkpoints fit_samples(const Options& options, const std::optional<distributed::World>& world = {}) {
  check_output_file(options.out);
  const Session session(options);
  auto metadata = session.metadata();  // before the long work: it may be refused
  FitState fit(session, options);
  Checkpoints checkpoints(options.out + ".checkpoint", session.job("fit"), options.fresh);
  const std::vector<std::size_t>& samples = session.inputs().indices;
  checkpoints.load([&](const io::Safetensors& checkpoint) { fit.restore(checkpoint, session); });
  const std::size_t before = fit.done();  // by earlier runs
  data::Loader loader =
      session.loader({samples.begin() + static_cast<std::ptrdiff_t>(before), samples.end()});
  const auto state = [&](const auto& save) { fit.save(save); };
  double seconds = 0;
  {
    Progress progress(world ? "fit, rank " + std::to_string(world->rank) : "fit", samples.size(), before);
    for (const data::Batch& batch : loader) {
      fit.add(session.profile(batch), batch.labels);
      progress.update(fit.done());
      if (fit.done() < samples.size()) checkpoints.offer(fit.done(), state);
    }
    seconds = progress.seconds();
  }
  if (world) checkpoints.save(state);
  const Baseline baseline = fit.baseline(session);
  const io::MomentsTensors sums(fit.moments());
  Checkpoints::Tensors of_part;
  if (options.shards == 0) {
    require_some(baseline.count());
  } else {
    sums.append_to(of_part);
  }
  write(options, baseline, fit.right(), std::move(metadata), of_part);
  if (!world) {
    print_speed("fitted", seconds, loader);
    if (before > 0) print_row("went on", "from " + std::to_string(before) + " samples of an earlier run");
    print(options, baseline, fit.right());
  }
  return checkpoints;
}

/// Fits a shard in each process of a job, and merges them in the first.
void fit_together(const Options& options, const distributed::World& world) {
  if (options.shards != 0) {
    throw Error(ErrorCode::argument, "--shard", "none in a job of several processes, which share the samples",
                std::to_string(options.shard) + '/' + std::to_string(options.shards));
  }
  check_output_file(options.out);
  distributed::ProcessGroup group(world);
  const auto part_of = [&](int rank) {
    return options.out + ".part-" + std::to_string(rank) + "-of-" + std::to_string(world.size);
  };
  Options part = options;
  part.shard = static_cast<std::size_t>(world.rank);
  part.shards = static_cast<std::size_t>(world.size);
  part.out = part_of(world.rank);
  const Checkpoints checkpoints = fit_samples(part, world);
  std::vector<distributed::Bytes> parts;
  {
    const io::MappedFile file = io::MappedFile::open(part.out);
    const auto bytes = std::as_bytes(std::span(file.text()));
    parts = group.gather({reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size()});
  }
  Options whole = options;
  for (std::size_t rank = 0; rank < parts.size(); ++rank) {
    whole.parts.push_back(part_of(static_cast<int>(rank)));
    write_text(whole.parts.back(), {reinterpret_cast<const char*>(parts[rank].data()), parts[rank].size()});
  }
  if (group.is_first()) merge_baselines(whole);
  // Only now does nobody need them for another try.
  group.barrier();
  checkpoints.remove();
  std::error_code ignored;
  std::filesystem::remove(part.out, ignored);
  for (const std::string& file : whole.parts) std::filesystem::remove(file, ignored);
}

}  // namespace

void fit(const Options& options) {
  if (const auto world = distributed::world_from_environment()) return fit_together(options, *world);
  fit_samples(options).remove();
}

void merge_baselines(const Options& options) {
  std::vector<BaselinePart> parts;
  for (const std::string& file : options.parts) parts.emplace_back(file);
  make_whole(parts, {"dtype", "seed", "batch"});

  Baseline sum = parts.front().baseline;  // for the quantiles, and to refuse what does not belong together
  MomentsTree moments(sum.units().size());
  Index right = 0;
  for (BaselinePart& part : parts) {
    try {
      if (&part != &parts.front()) sum.merge(part.baseline);
      moments.merge(std::move(part.moments));
    } catch (const Error& error) {
      throw Error(error.code(), part.file, error.expected(), error.came());
    }
    right += part.right;
  }
  if (!moments.nodes().empty() && !moments.covers(0, moments.nodes().back().end()))
    throw Error(ErrorCode::baseline, "parts", "each batch in one of them", "a gap in their tensors");
  require_some(sum.count());
  const Baseline baseline(sum.shared_units(), moments.total(), sum.fingerprint(), sum.quantiles(),
                          sum.skipped());
  write(options, baseline, right, parts.front().of_whole());

  print_row("merged",
            std::to_string(samples_of(baseline)) + " samples of " + std::to_string(parts.size()) + " parts");
  print(options, baseline, right);
}

}  // namespace culprit::cli
