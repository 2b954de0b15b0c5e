// SPDX-License-Identifier: MIT
// Nothing between inputs and result waits for the device. (The tests on any device are run on this one too.)
#include "device/device.hpp"
#include "device/emulated/other_device.hpp"
#include "laws/policies.hpp"

using namespace culprit;
using namespace culprit::test;

at::Device culprit::test::tested_device() { return other_device; }
bool culprit::test::have_tested_device() { return true; }

namespace {

/// A loader of the batches that notes how often the host had waited before each.
struct Watched {
  struct Batches {
    std::size_t at;
    std::vector<std::size_t>& waited;
    bool operator!=(const Batches& end) const { return at != end.at; }
    void operator++() { ++at; }
    std::pair<at::Tensor, at::Tensor> operator*() const {
      waited.push_back(waits().size());
      return batches()[at];
    }
  };
  std::vector<std::size_t>& waited;
  [[nodiscard]] Batches begin() const { return {0, waited}; }
  [[nodiscard]] Batches end() const { return {batches().size(), waited}; }
};

}  // namespace

TEST_CASE("The other device refuses operands on the CPU, and notes what would wait for it", "[device]") {
  const at::Tensor there = normal({3}).to(other_device);
  CHECK_THROWS_AS(there + normal({3}), c10::Error);
  CHECK_THROWS_AS(at::mv(normal({3, 3}).to(other_device), normal({3})), c10::Error);
  waits().clear();
  static_cast<void>(there.sum().item<double>());
  static_cast<void>(there.cpu());
  static_cast<void>(there.nonzero());
  CHECK(waits() == std::vector<std::string>{"a number read", "a copy to the CPU", "aten::nonzero"});
}

TEMPLATE_LIST_TEST_CASE("No aggregation waits for another device", "[device]", Aggregations) {
  const Profiler profiler{TestType{}, standardize::Identity{}, visit::AllWeights{}};
  const visit::Plan plan = profiler.plan(model_on(other_device));
  waits().clear();
  CHECK(profiler.batch_as_is(plan, inputs(), labels()).profiles.device() == other_device);
  CHECK(waits().empty());
}

TEST_CASE("No batch of a fit on another device is waited for", "[device]") {
  std::vector<std::size_t> waited;
  copies_on_the_way() = 0;
  CHECK(Profiler{}.fit(model_on(other_device), Watched{waited}).count() == 6);
  CHECK(waited == std::vector<std::size_t>(3, waited.front()));
  CHECK(copies_on_the_way() == 3);
}
