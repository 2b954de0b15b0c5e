// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace culprit {

/// 64-bit hash of float64 values, word by word (FNV-1a's constants with a rotation). It tells models apart;
/// it is not cryptographic.
[[nodiscard]] inline std::uint64_t hash_values(std::span<const double> values,
                                               std::uint64_t hash = 0xcbf29ce484222325U) noexcept {
  for (const double value : values) {
    std::uint64_t word = 0;
    std::memcpy(&word, &value, sizeof word);
    hash = (hash ^ word) * 0x00000100000001b3U;
    hash ^= hash >> 32U;
  }
  return hash;
}

/// 64-bit FNV-1a of bytes: no change of a single bit goes unseen.
[[nodiscard]] inline std::uint64_t hash_bytes(std::span<const std::byte> bytes,
                                              std::uint64_t hash = 0xcbf29ce484222325U) noexcept {
  for (const std::byte byte : bytes)
    hash = (hash ^ std::to_integer<std::uint64_t>(byte)) * 0x00000100000001b3U;
  return hash;
}

/// What a baseline belongs to: the values of a model, the way gradients become numbers, and the way pixels
/// became input.
struct Fingerprint {
  /// Each parameter and buffer by name, with hash_values of its elements widened to float64, so that a
  /// float32 model and the same model in float64 agree.
  std::vector<std::pair<std::string, std::uint64_t>> tensors;
  std::string aggregation;    ///< describe() of the aggregation: its name and hyper-parameters
  std::string loss;           ///< the same of the loss
  std::string preprocessing;  ///< canonical text given by the caller

  /// The first difference in words ("`this` against `other`"), empty when none.
  [[nodiscard]] std::string difference(const Fingerprint& other) const {
    if (tensors.size() != other.tensors.size()) {
      return std::to_string(tensors.size()) + " tensors against " + std::to_string(other.tensors.size());
    }
    for (std::size_t i = 0; i < tensors.size(); ++i) {
      const auto& a = tensors[i];
      const auto& b = other.tensors[i];
      if (a.first != b.first) return "tensor " + a.first + " against " + b.first;
      if (a.second != b.second) return "other values in " + a.first;
    }
    if (aggregation != other.aggregation)
      return "aggregation " + aggregation + " against " + other.aggregation;
    if (loss != other.loss) return "loss " + loss + " against " + other.loss;
    if (preprocessing != other.preprocessing) {
      return "preprocessing '" + preprocessing + "' against '" + other.preprocessing + "'";
    }
    return {};
  }
};

}  // namespace culprit
