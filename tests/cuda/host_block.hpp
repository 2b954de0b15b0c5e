// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <random>
#include <stdexcept>
#include <vector>

#include "culprit/cuda/kernel.cuh"

/// A block of threads that the host runs, one thread after the other, in another order each time. Copies
/// arrive when they are waited for, so that a wait too few comes out wrong; a barrier too few does not.
namespace culprit::cuda::test {

inline float rounded_to_tf32(float x) {
  if (!std::isfinite(x)) return x;
  std::uint32_t bits = 0;
  std::memcpy(&bits, &x, sizeof bits);
  bits = (bits + 0x1000U) & ~0x1fffU;  // to the nearest, ties away from zero
  std::memcpy(&x, &bits, sizeof bits);
  return x;
}

template <class Tile, class Total>
class HostBlock {
  struct alignas(16) Line {
    unsigned char bytes[16];
  };
  std::vector<Line> storage_ = std::vector<Line>(sizeof(detail::Shared<Tile, Total>) / sizeof(Line) + 1);

 public:
  detail::Shared<Tile, Total>& memory;

  explicit HostBlock(std::uint32_t seed)
      : memory(*reinterpret_cast<detail::Shared<Tile, Total>*>(storage_.data())),
        registers_(Tile::threads),
        order_(Tile::threads),
        dice_(seed) {
    for (int i = 0; i < Tile::threads; ++i) order_[static_cast<std::size_t>(i)] = i;
    for (Line& line : storage_) std::fill(std::begin(line.bytes), std::end(line.bytes), 0xff);  // NaN
  }

  template <class Each>
  void each(const Each& f) {
    std::shuffle(order_.begin(), order_.end(), dice_);
    for (const int thread : order_) f(thread, registers_[static_cast<std::size_t>(thread)]);
  }
  void sync() {}

  /// Memory keeps what it had until the copy is waited for, as it may on the device.
  template <class T, int count>
  void copy(T* to, const T* from, bool valid) {
    Copy copy{to, {}, count * sizeof(T)};
    static_assert(count * sizeof(T) <= sizeof copy.bytes);
    if (reinterpret_cast<std::uintptr_t>(to) % copy.size != 0 ||
        (valid && reinterpret_cast<std::uintptr_t>(from) % copy.size != 0))
      throw std::runtime_error("a copy that is not aligned");
    if (valid) std::memcpy(copy.bytes, from, copy.size);
    groups_.back().push_back(copy);
  }
  void commit() { groups_.emplace_back(); }
  template <int pending>
  void wait() {
    while (groups_.size() > pending + 1) {
      for (const Copy& copy : groups_.front()) std::memcpy(copy.to, copy.bytes, copy.size);
      groups_.erase(groups_.begin());
    }
  }

  [[nodiscard]] std::uint32_t tf32(float x) const {
    x = rounded_to_tf32(x);
    std::uint32_t bits = 0;
    std::memcpy(&bits, &x, sizeof bits);
    return bits;
  }

  void multiply() {
    for (int warp = 0; warp < Tile::threads / 32; ++warp) {
      for (int i = 0; i < Tile::row_steps; ++i) {
        for (int j = 0; j < Tile::column_steps; ++j)
          multiply(&registers_[static_cast<std::size_t>(warp) * 32], i, j);
      }
    }
  }

 private:
  using Multiply = typename Tile::Multiply;
  using Registers = detail::Registers<Tile, Total>;
  struct Copy {
    void* to;
    unsigned char bytes[16];
    std::size_t size;
  };

  /// Term k of a row or column, from the registers of the thread that has it.
  template <class Fragment>
  static float term(const Fragment* of_line, int k, int below) {
    std::uint32_t word = 0;
    if constexpr (Multiply::depth == 8) {
      word = at(of_line, k % 4, below, k / 4);
      float x = 0;
      std::memcpy(&x, &word, sizeof x);
      return x;
    } else {
      word = at(of_line, k % 8 / 2, below, k / 8);
      typename Tile::Element x;
      const auto half = static_cast<std::uint16_t>(k % 2 == 0 ? word : word >> 16U);
      std::memcpy(static_cast<void*>(&x), &half, sizeof x);
      return static_cast<float>(x);
    }
  }
  static std::uint32_t at(const typename Multiply::Rows* line, int t, int below, int later) {
    return line[t].at[below + 2 * later];
  }
  static std::uint32_t at(const typename Multiply::Columns* line, int t, int /*below*/, int later) {
    return line[t].at[later];
  }

  void multiply(Registers* warp, int i, int j) {
    if constexpr (!Multiply::collective) {
      for (int lane = 0; lane < 32; ++lane)
        Multiply::multiply(warp[lane].sums[i][j], warp[lane].rows[i], warp[lane].columns[j]);
    } else {
      typename Multiply::Rows rows[32];
      typename Multiply::Columns columns[32];
      for (int lane = 0; lane < 32; ++lane) {
        rows[lane] = warp[lane].rows[i];
        columns[lane] = warp[lane].columns[j];
      }
      for (int lane = 0; lane < 32; ++lane) {
        for (int n = 0; n < 4; ++n) {
          const int row = lane / 4 + n / 2 * 8;
          const int column = lane % 4 * 2 + n % 2;
          for (int k = 0; k < Multiply::depth; ++k)
            warp[lane].sums[i][j][n] +=
                term(rows + row % 8 * 4, k, row / 8) * term(columns + column * 4, k, 0);
        }
      }
    }
  }

  std::vector<Registers> registers_;
  std::vector<int> order_;
  std::mt19937 dice_;
  std::vector<std::vector<Copy>> groups_ = std::vector<std::vector<Copy>>(1);
};

}  // namespace culprit::cuda::test
