// SPDX-License-Identifier: MIT
#include "culprit/engine/autocast.hpp"

#include <algorithm>
#include <set>

#include "culprit/culprit.hpp"
#include "reference/golden.hpp"
#include "support/catch.hpp"

using namespace culprit;
using namespace culprit::test;

TEST_CASE("bfloat16 ranks the filters of 500 real images as float32 does", "[reference]") {
  CULPRIT_REQUIRE_DEVICE();
  CULPRIT_REQUIRE_DATA("golden");
  std::vector<io::Json> entries;  // fifty images of each class
  const std::vector<std::string> names{"airplane", "automobile", "bird",  "cat",  "deer",
                                       "dog",      "frog",       "horse", "ship", "truck"};
  for (std::size_t label = 0; label < names.size(); ++label) {
    for (int i = 10; i < 60; ++i) {
      const std::string path = "cifar10/test/" + names[label] + "/00" + std::to_string(i) + ".jpg";
      entries.push_back(io::Json::object({{"path", path}, {"label", label}, {"loss", 0.0}}));
    }
  }
  const Images images = load_images(resnet20, entries, torch::kFloat);
  const auto model = resnet20.model(torch::kFloat);
  const visit::Plan plan = Profiler{}.plan(*model);
  const Baseline baseline = baseline_of(resnet20, plan);
  const Profiler mixed{aggregate::MeanAbs{}, standardize::ZScore{}, visit::ConvFilters{},
                       engine::Autocast<>{}};
  const RowMatrix exact =
      to_matrix(from_tested_device(Profiler{}.batch(plan, images.inputs, images.labels).profiles));
  const RowMatrix narrow =
      to_matrix(from_tested_device(mixed.batch(plan, images.inputs, images.labels).profiles));
  double correlation = 0.0;
  double shared = 0.0;
  for (Index i = 0; i < exact.rows(); ++i) {
    const Profile a = Profiler{}.standardize(Profile(plan.units, row_of(exact, i)), baseline);
    const Profile b = Profiler{}.standardize(Profile(plan.units, row_of(narrow, i)), baseline);
    correlation += 1.0 - distance::Spearman{}(a.values(), b.values());
    const std::vector<Index> top = a.select(select::Top{.count = 10});
    for (const Index unit : b.select(select::Top{.count = 10}))
      shared += std::ranges::find(top, unit) != top.end() ? 1.0 : 0.0;
  }
  const auto count = static_cast<double>(exact.rows());
  REQUIRE(count == 500);
  CAPTURE(correlation / count, shared / count);
  CHECK(correlation / count >= 0.99);
  CHECK(shared / count >= 9.0);
}
