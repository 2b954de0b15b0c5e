// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#if __has_include(<catch2/catch_all.hpp>)
#include <catch2/catch_all.hpp>
#else
#include <catch2/catch.hpp>
#endif

namespace culprit::test {

/// The seed of this run: the same in every run unless `--rng-seed` gives another; printed when the run
/// starts.
inline std::uint32_t seed() {
#if __has_include(<catch2/catch_all.hpp>)
  return Catch::getSeed();
#else
  return Catch::rngSeed();
#endif
}

}  // namespace culprit::test
