// SPDX-License-Identifier: MIT
#include "fuzz/data_targets.hpp"
#include "fuzz/replay.hpp"
#include "support/catch.hpp"

TEST_CASE("the fuzz corpus of list keeps the reader's promises", "[examples]") {
  CHECK(culprit::test::replay("list", culprit::test::fuzz_list) >= 2);
}
TEST_CASE("the fuzz corpus of classes keeps the reader's promises", "[examples]") {
  CHECK(culprit::test::replay("classes", culprit::test::fuzz_classes) >= 3);
}
TEST_CASE("the fuzz corpus of boxes keeps the reader's promises", "[examples]") {
  CHECK(culprit::test::replay("boxes", culprit::test::fuzz_boxes) >= 2);
}
TEST_CASE("the fuzz corpus of idx keeps the reader's promises", "[examples]") {
  CHECK(culprit::test::replay("idx", culprit::test::fuzz_idx) >= 4);
}
TEST_CASE("the fuzz corpus of cifar10 keeps the reader's promises", "[examples]") {
  CHECK(culprit::test::replay("cifar10", culprit::test::fuzz_cifar10) >= 1);
}
TEST_CASE("the fuzz corpus of jpeg keeps the reader's promises", "[examples]") {
  CHECK(culprit::test::replay("jpeg", culprit::test::fuzz_jpeg) >= 5);
}
TEST_CASE("the fuzz corpus of png keeps the reader's promises", "[examples]") {
  CHECK(culprit::test::replay("png", culprit::test::fuzz_png) >= 10);
}
