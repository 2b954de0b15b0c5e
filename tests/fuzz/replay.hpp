// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <filesystem>
#include <string>
#include <string_view>

#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace culprit::test {

/// Gives the target every file of its corpus whole; those that a person wrote also cut at every byte, and
/// with every single bit flipped. Those that a fuzzer found, named by their SHA-1, are damaged already.
/// Returns how many of the whole files were accepted.
inline int replay(const std::string& name, bool (*target)(std::string_view)) {
  int accepted = 0;
  const auto folder = std::filesystem::path{CULPRIT_SOURCE_DIR} / "tests/fuzz/corpus" / name;
  for (const auto& entry : std::filesystem::directory_iterator{folder}) {
    CAPTURE(entry.path());
    const std::string bytes = read_bytes(entry.path());
    accepted += target(bytes) ? 1 : 0;
    if (entry.path().filename().string().size() == 40) continue;
    for (std::size_t length = 0; length < bytes.size(); ++length) {
      // A copy of its own size, so that AddressSanitizer sees a read past the end.
      REQUIRE_NOTHROW(target(std::string{bytes, 0, length}));
    }
    std::string flipped = bytes;
    for (std::size_t bit = 0; bit < 8 * bytes.size(); ++bit) {
      const auto mask = static_cast<char>(1U << bit % 8);
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ mask);
      REQUIRE_NOTHROW(target(flipped));
      flipped[bit / 8] = static_cast<char>(flipped[bit / 8] ^ mask);
    }
  }
  return accepted;
}

}  // namespace culprit::test
