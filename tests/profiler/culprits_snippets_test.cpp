// SPDX-License-Identifier: MIT
// What README.md and the pages in docs/ show of what profiles are good for, and no other tested code has:
// tests/docs/snippets.py compares.
#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "profiler/snippets.hpp"
#include "support/temporary_folder.hpp"

namespace cu = culprit;
using namespace culprit::test;

namespace {

/// Profiles of four samples, two of them wrong, as culprit profile writes them.
void write_profiles(const std::filesystem::path& path) {
  std::vector<cu::Layer> layers(2);
  for (cu::Layer& layer : layers) {
    layer.name = &layer == layers.data() ? "features.0.weight" : "features.1.weight";
    layer.count = 3;
    layer.size = 9;
  }
  const at::Tensor z = normal({4, 6});
  const at::Tensor logits = normal({4, 2}, at::kFloat);
  const std::vector<std::int64_t> label{0, 1, 0, 1};
  const std::vector<std::int64_t> prediction{1, 1, 1, 1};
  const std::span<const double> values(z.const_data_ptr<double>(), 24);
  const std::vector<std::pair<std::string, cu::io::TensorView>> tensors{
      {"z", cu::io::view_of(values, {4, 6})},
      {"logits", cu::io::view_of(std::span<const float>(logits.const_data_ptr<float>(), 8), {4, 2})},
      {"label", cu::io::view_of<std::int64_t>(label, {4})},
      {"prediction", cu::io::view_of<std::int64_t>(prediction, {4})}};
  cu::io::write_safetensors(path, tensors,
                            {{"units", dump(cu::io::units_to_json(cu::Units(layers)))},
                             {"fingerprint", dump(cu::io::fingerprint_to_json({}))},
                             {"standardization", "z_score"},
                             {"paths", R"(["a", "b", "c", "d"])"}});
}

// [own_distance]
/// The sum of |a_k - b_k|.
struct Manhattan {
  static constexpr std::string_view name = "manhattan";

  double operator()(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const { return (a - b).lpNorm<1>(); }
  Eigen::VectorXd gradient(const Eigen::VectorXd& a, const Eigen::VectorXd& b) const {  // for input saliency
    return (a - b).cwiseSign();
  }
};
static_assert(cu::DifferentiableDistance<Manhattan>);
// [/own_distance]

// [own_selection]
/// The units above a threshold, ascending.
struct Above {
  static constexpr std::string_view name = "above";
  double threshold = 0.0;

  std::vector<cu::Index> operator()(const cu::Profile& profile, std::span<const cu::Index> candidates) const {
    std::vector<cu::Index> taken;
    std::ranges::copy_if(candidates, std::back_inserter(taken),
                         [&](cu::Index unit) { return profile[unit] > threshold; });
    return taken;
  }
  std::string description() const { return "above " + std::to_string(threshold); }
};
static_assert(cu::Selection<Above>);
// [/own_selection]

// [own_intervention]
/// Halves the weights of the units, or by another factor.
struct Shrink {
  static constexpr std::string_view name = "shrink";
  double factor = 0.5;

  at::Tensor operator()(const cu::visit::Plan& plan, const cu::intervene::Subject& subject,
                        cu::intervene::Undo& undo) const {
    for (const cu::Index unit : subject.units)
      undo.keep(cu::visit::weights_of(plan, plan.units->unit(unit))).mul_(factor);
    return subject.input;
  }
};
static_assert(cu::Intervention<Shrink>);
// [/own_intervention]

}  // namespace

TEST_CASE("Documentation: distances", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  const cu::Profiler profiler;
  const auto baseline = profiler.fit(model, loader);
  std::vector<cu::Profile> profiles;
  for (cu::Index i = 0; i < 6; ++i)
    profiles.push_back(profiler(model, {inputs[i], targets[i].item<cu::Index>()}, baseline));
  // [distance]
  const double difference = cu::distance::Cosine{}(profiles[0].values(), profiles[1].values());
  const cu::Neighbors by_rank{cu::distance::Spearman{}, {.up_to = "features.19"}};  // shallow layers only
  const auto nearest = by_rank(profiles[0], profiles, 4);  // index and distance, the nearest first
  // [/distance]
  CHECK((difference > 0.0 && difference < 2.0));
  CHECK(nearest.size() == 4);
  CHECK(nearest[0].index == 0);
  CHECK(nearest[0].distance == 0.0);
  CHECK(nearest[1].distance > 0.0);
  const Eigen::VectorXd a = profiles[0].values();
  const Eigen::VectorXd b = profiles[1].values();
  CHECK(cu::Neighbors{Manhattan{}}(profiles[0], profiles, 1)[0].distance == 0.0);
  CHECK(Manhattan{}(a, b) == Approx(Manhattan{}.gradient(a, b).dot(a - b)));
  CHECK(usable(cu::InputSaliency{profiler, Manhattan{}}(model, {image, label}, baseline).gradient));
}

TEST_CASE("Documentation: neighbours", "[snippets]") {
  const TemporaryFolder folder;
  write_profiles(folder / "part0.safetensors");
  std::filesystem::copy(folder / "part0.safetensors", folder / "part1.safetensors");
  const std::vector<std::filesystem::path> files{folder.path()};
  // [neighbors]
  const auto store = cu::io::ProfileStore::open(files);  // what culprit profile wrote: mapped, not read
  const auto wrong = store.wrong();                      // the rows that the model is wrong about
  const cu::Neighbors shallow{cu::distance::Cosine{}, {.up_to = "features.0"}};
  const auto found = shallow(store.rows().subset(wrong), store.rows(),
                             {.k = 3, .among = wrong, .leave_out = wrong});  // no sample is its own neighbour
  const double similarity = 1.0 - found[0][0].distance;  // of wrong[0] and row found[0][0].index
  // [/neighbors]
  CHECK(wrong == std::vector<cu::Index>{0, 2, 4, 6});
  REQUIRE(found.size() == 4);
  REQUIRE(found[0].size() == 3);
  CHECK(found[0][0].index == 4);  // the same sample in the other file
  CHECK(similarity == Approx(1.0));
}

TEST_CASE("Documentation: selections", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  const cu::Profiler profiler;
  const auto baseline = profiler.fit(model, loader);
  const auto profile = profiler(model, {image, label}, baseline);
  // [selection]
  namespace select = cu::select;
  const auto culprits = profile.select(select::Top{.count = 3});  // unit numbers, the most salient first
  const auto deep =
      profile.select(select::Within{select::Top{.count = 3}, select::LayerRange{.after = "features.19"}});
  const auto alive = profile.select(select::Within{select::Top{.count = 3}, select::Except{baseline.dead()}});
  const auto control = profile.select(select::Random{.count = 3, .seed = 7});
  // [/selection]
  // [filter_masks]
  const auto plan = profiler.plan(model);
  const auto& units = *plan.units;
  const std::vector<cu::Index> known{units.index(units.layers()[0].name, 2), culprits[0]};
  for (const auto& [name, mask] : cu::visit::filter_masks(plan, known))
    std::cout << name << ": " << mask.sum().item<cu::Index>() << " of " << mask.numel() << " weights\n";
  // [/filter_masks]
  CHECK(culprits.front() == profile.top(1).front().unit);
  CHECK(deep.size() == 3);
  for (const cu::Index unit : deep) CHECK(unit >= 10);
  CHECK(alive == culprits);
  CHECK(control.size() == 3);
  const auto above = profile.select(select::Within{Above{}, select::Top{.count = 3}});
  CHECK(above.size() <= 3);
  for (const cu::Index unit : profile.select(Above{})) CHECK(profile[unit] > 0.0);
}

TEST_CASE("Documentation: input saliency", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  const cu::Profiler profiler;
  const auto baseline = profiler.fit(model, loader);
  // [input_saliency]
  const cu::InputSaliency saliency{profiler};
  const auto why = saliency(model, {image, label}, baseline);  // why.gradient is G, signed, [C, H, W]
  const at::Tensor pixels = cu::pixel_saliency(why.gradient);  // [H, W]
  const cu::HeatMap map;
  const at::Tensor heat = map(pixels, map.scale({&pixels, 1}));  // [H, W] from 0 to 1, as the paper draws it
  // [/input_saliency]
  CHECK(usable(why.gradient));
  CHECK(why.gradient.sizes() == image.sizes());
  CHECK(why.boosted.size() == 10);
  CHECK((heat.min().item<double>() >= 0.0 && heat.max().item<double>() <= 1.0));
  CHECK(heat.max().item<double>() > 0.0);

  const auto plan = profiler.plan(model);
  int unclear = 0;
  // [input_saliency_options]
  const cu::InputSaliency smoothed{profiler,
                                   cu::distance::Euclidean{},
                                   cu::select::Top{.count = 3},
                                   {.boost = 10.0, .noise_iters = 8, .noise_std = 0.1, .seed = 1}};
  for (const auto& each : smoothed.batch(plan, inputs, targets, profiler.part(baseline, plan)))
    if (each.salient() < 3) ++unclear;  // fewer than three units have z > 0
  // [/input_saliency_options]
  CHECK(unclear < 40);
}

TEST_CASE("Documentation: interventions", "[snippets]") {
  const auto [model, inputs, targets, loader, image, label] = Bench();
  const cu::Profiler profiler;
  const auto baseline = profiler.fit(model, loader);
  const auto profile = profiler(model, {image, label}, baseline);
  const at::Tensor pixels =
      cu::pixel_saliency(cu::InputSaliency{profiler}(model, {image, label}, baseline).gradient);
  // [intervention]
  namespace intervene = cu::intervene;
  const auto plan = cu::visit::trace(profiler.plan(model), image.unsqueeze(0));
  const intervene::Subject subject{image, label, profile.select(cu::select::Top{.count = 3}), pixels};
  {
    const intervene::Scope pruned{intervene::Prune{}, plan, subject};
    std::cout << pruned.outputs() << '\n';  // [classes], with the three filters switched off
  }                                         // every tensor of the model is as it was, bit for bit
  const intervene::Scope nudged{intervene::FineTune<>{.eta = 0.01, .loss = {}}, plan, subject};
  const intervene::Scope masked{intervene::Mask{.share = 0.1}, plan, subject};  // masked.input(): [C, H, W]
  // [/intervention]
  const at::Tensor before = masked.outputs();
  // [pruned_each]
  const std::vector<std::vector<cu::Index>> off{{0, 5}, {}, {7}};  // of each sample; the weights stay
  const at::Tensor outputs = intervene::outputs_pruned_each(plan, inputs.slice(0, 0, 3), off);
  // [/pruned_each]
  // [fine_tuned_each]
  // Steps down the loss of sample 0 on two choices of filters: what does the model say of three samples?
  const std::vector<intervene::Trial> trials{{0, {0, 5}, {0, 1, 2}}, {0, {7}, {0, 1, 2}}};
  const auto nudges = intervene::outputs_fine_tuned_each(plan, intervene::FineTune<>{.eta = 0.01, .loss = {}},
                                                         inputs, targets, trials);  // [3, classes] for each
  // [/fine_tuned_each]
  CHECK(nudges[1].size(0) == 3);
  CHECK(outputs.size(0) == 3);
  CHECK((masked.input() != image).any(0).sum().item<cu::Index>() == (pixels.numel() + 5) / 10);
  const intervene::Scope shrunk{Shrink{}, plan, subject};
  CHECK_FALSE(shrunk.outputs().equal(before));
}
