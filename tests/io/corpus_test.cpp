// SPDX-License-Identifier: MIT
#include "fuzz/file_targets.hpp"
#include "fuzz/format_targets.hpp"
#include "fuzz/replay.hpp"
#include "support/catch.hpp"

TEST_CASE("the fuzz corpus of json keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("json", culprit::test::fuzz_json) >= 4);
}
TEST_CASE("the fuzz corpus of safetensors keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("safetensors", culprit::test::fuzz_safetensors) >= 4);
}
TEST_CASE("the fuzz corpus of npy keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("npy", culprit::test::fuzz_npy) >= 5);
}
TEST_CASE("the fuzz corpus of units keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("units", culprit::test::fuzz_units) >= 2);
}
TEST_CASE("the fuzz corpus of fingerprint keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("fingerprint", culprit::test::fuzz_fingerprint) >= 2);
}
TEST_CASE("the fuzz corpus of baseline keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("baseline", culprit::test::fuzz_baseline) >= 4);
}
TEST_CASE("the fuzz corpus of checkpoint keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("checkpoint", culprit::test::fuzz_checkpoint) >= 1);
}
TEST_CASE("the fuzz corpus of store keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("store", culprit::test::fuzz_store) >= 5);
}
TEST_CASE("the fuzz corpus of index keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("index", culprit::test::fuzz_index) >= 2);
}
TEST_CASE("the fuzz corpus of moments keeps the reader's promises", "[io]") {
  CHECK(culprit::test::replay("moments", culprit::test::fuzz_moments) >= 2);
}
