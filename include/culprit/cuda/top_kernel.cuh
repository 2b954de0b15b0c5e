// SPDX-License-Identifier: MIT
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>

#include <cuda_runtime.h>

#include "culprit/core/baseline.hpp"

// The most salient units of one sample, by one block of threads, on the device or, for tests, on the host. A
// Block has each(f), f(thread) for each of its threads, which need not have come so far when it returns;
// sync(); add(counter), what it was before one was added; and memory.
namespace culprit::cuda {

inline constexpr int top_threads = 256;      ///< of a block
inline constexpr int most_top_units = 1024;  ///< that are ranked for a sample at a time

/// The rows of a batch and what becomes of them.
template <class T>
struct TopTask {
  const T* raw;                 ///< [samples, units], Eq. 1
  const UnitStatistics* usual;  ///< [units]
  int units;                    ///< of the model
  int count;                    ///< wanted of each sample, at most units and most_top_units
  double* values;               ///< [samples, count], standardized, in descending order
  std::int64_t* indices;        ///< [samples, count], of the units; of equal values the lowest first
};

namespace detail {

/// A value's place in the order, and the unit's among equal values: more is more salient.
struct Rank {
  std::uint64_t value;
  std::uint32_t unit;

  static constexpr int digits = 12;  ///< of 8 bits

  /// NaN comes first, for it must not be overlooked; -0 is 0.
  [[nodiscard]] static __host__ __device__ Rank of(double value, int unit) {
    std::uint64_t bits = 0;
    if (std::isnan(value)) return {~bits, ~static_cast<std::uint32_t>(unit)};
    value = value == 0.0 ? 0.0 : value;
    std::memcpy(&bits, &value, sizeof bits);
    constexpr std::uint64_t sign = std::uint64_t{1} << 63U;
    return {(bits & sign) != 0 ? ~bits : bits | sign, ~static_cast<std::uint32_t>(unit)};
  }

  [[nodiscard]] __host__ __device__ int digit(int i) const {
    return static_cast<int>((i < 8 ? value >> (56 - 8 * i) : unit >> (24 - 8 * (i - 8))) & 255U);
  }
  __host__ __device__ void set_digit(int i, int to) {
    if (i < 8) {
      value |= static_cast<std::uint64_t>(to) << (56 - 8 * i);
    } else {
      unit |= static_cast<std::uint32_t>(to) << (24 - 8 * (i - 8));
    }
  }
  /// Whether the digits before this one are the same.
  [[nodiscard]] __host__ __device__ bool agrees(const Rank& other, int digit) const {
    if (digit == 0) return true;
    if (digit <= 8) return (value ^ other.value) >> (64 - 8 * digit) == 0;
    return value == other.value && (unit ^ other.unit) >> (32 - 8 * (digit - 8)) == 0;
  }
  [[nodiscard]] __host__ __device__ bool operator<(const Rank& other) const {
    return value != other.value ? value < other.value : unit < other.unit;
  }
};

struct TopShared {
  int histogram[256];  ///< of the next digit, of those that agree with `least` so far
  Rank least;          ///< of the units to be taken, as far as it is known; 0 behind that
  int wanted;          ///< of those that agree with `least`
  int taken;
  bool settled;  ///< all that agree are wanted
  double values[most_top_units];
  int units[most_top_units];
};

/// Finds the least rank that is taken, digit by digit (radix selection), and then ranks what is taken.
template <class T, class Standardization, class Block>
__host__ __device__ void find_top(Block& block, const TopTask<T>& task,
                                  const Standardization& standardization, std::int64_t sample) {
  TopShared& memory = block.memory;
  const T* const raw = task.raw + sample * task.units;
  const auto value_of = [raw, &task, &standardization](int unit) {
    return standardization(static_cast<double>(raw[unit]), task.usual[unit]);
  };
  const auto for_units = [&task, value_of](int thread, const auto& f) {
    for (int unit = thread; unit < task.units; unit += top_threads) {
      const double value = value_of(unit);
      f(unit, value, Rank::of(value, unit));
    }
  };
  block.each([&memory, &task](int thread) {
    if (thread != 0) return;
    memory.least = {0, 0};
    memory.wanted = task.count;
    memory.taken = 0;
    memory.settled = false;
  });
  block.sync();
  for (int digit = 0; digit < Rank::digits && !memory.settled; ++digit) {
    block.each([&memory](int thread) { memory.histogram[thread] = 0; });
    block.sync();
    block.each([&block, &memory, for_units, digit](int thread) {
      for_units(thread, [&](int, double, const Rank& rank) {
        if (rank.agrees(memory.least, digit)) block.add(memory.histogram[rank.digit(digit)]);
      });
    });
    block.sync();
    block.each([&memory, digit](int thread) {
      if (thread != 0) return;
      int next = 255;
      for (; memory.histogram[next] < memory.wanted; --next) memory.wanted -= memory.histogram[next];
      memory.least.set_digit(digit, next);
      memory.settled = memory.histogram[next] == memory.wanted;
    });
    block.sync();
  }
  block.each([&block, &memory, for_units](int thread) {
    for_units(thread, [&](int unit, double value, const Rank& rank) {
      if (rank < memory.least) return;
      const int place = block.add(memory.taken);
      memory.values[place] = value;
      memory.units[place] = unit;
    });
  });
  block.sync();
  block.each([&memory, &task, sample](int thread) {
    for (int i = thread; i < task.count; i += top_threads) {
      const Rank own = Rank::of(memory.values[i], memory.units[i]);
      int place = 0;
      for (int j = 0; j < task.count; ++j) place += own < Rank::of(memory.values[j], memory.units[j]) ? 1 : 0;
      task.values[sample * task.count + place] = memory.values[i];
      task.indices[sample * task.count + place] = memory.units[i];
    }
  });
}

}  // namespace detail

}  // namespace culprit::cuda
