// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <functional>
#include <numeric>
#include <random>
#include <stdexcept>
#include <vector>

#include "culprit/cuda/kernel.cuh"

/// A block of threads that the host runs: one warp after the other, each as far as the next barrier, in
/// another order each time, so that a barrier too few comes out wrong. Copies arrive when their own thread
/// waits for them, so that a wait too few does as well.
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
        copies_(Tile::threads, Groups(1)),
        dice_(seed) {
    for (Line& line : storage_) std::fill(std::begin(line.bytes), std::end(line.bytes), 0xff);  // NaN
  }

  template <class Each>
  void each(const Each& f) {
    to_do_.push_back([f, this](int warp) {
      for (const int lane : shuffled(32)) {
        thread_ = static_cast<std::size_t>(warp * 32 + lane);
        f(warp * 32 + lane, registers_[thread_]);
      }
    });
  }
  void sync() {
    for (const int warp : shuffled(Tile::threads / 32)) {
      for (const auto& phase : to_do_) phase(warp);
    }
    to_do_.clear();
  }

  /// Memory keeps what it had until the copy is waited for, as it may on the device.
  template <class T, int count>
  void copy(T* to, const T* from, bool valid) {
    Copy copy{to, {}, count * sizeof(T)};
    static_assert(count * sizeof(T) <= sizeof copy.bytes);
    if (reinterpret_cast<std::uintptr_t>(to) % copy.size != 0 ||
        (valid && reinterpret_cast<std::uintptr_t>(from) % copy.size != 0))
      throw std::runtime_error("a copy that is not aligned");
    const auto* const stages = reinterpret_cast<const unsigned char*>(memory.stages);
    const auto* const place = reinterpret_cast<const unsigned char*>(to);
    if (place < stages || place + copy.size > stages + sizeof memory.stages)
      throw std::runtime_error("a copy beyond the stages");
    if (valid) std::memcpy(copy.bytes, from, copy.size);
    copies_[thread_].back().push_back(copy);
  }
  void commit() {
    each([this](int /*thread*/, Registers&) { copies_[thread_].emplace_back(); });
  }
  template <int pending>
  void wait() {
    each([this](int /*thread*/, Registers&) {
      Groups& groups = copies_[thread_];
      while (groups.size() > pending + 1) {
        for (const Copy& copy : groups.front()) std::memcpy(copy.to, copy.bytes, copy.size);
        groups.erase(groups.begin());
      }
    });
  }

  template <class RowAt>
  void matrices(std::uint32_t (&to)[4], const RowAt& row_at, int lane) const {
    for (int i = 0; i < 4; ++i) {
      const auto* const row = reinterpret_cast<const unsigned char*>(row_at(8 * i + lane / 4));
      if (reinterpret_cast<std::uintptr_t>(row) % 16 != 0)
        throw std::runtime_error("a row of a matrix that is not aligned");
      std::memcpy(&to[i], row + lane % 4 * 4, 4);
    }
  }

  [[nodiscard]] std::uint32_t tf32(std::uint32_t bits) const {
    float x = 0;
    std::memcpy(&x, &bits, sizeof x);
    x = rounded_to_tf32(x);
    std::memcpy(&bits, &x, sizeof x);
    return bits;
  }

  void multiply() {
    to_do_.push_back([this](int warp) {
      for (int i = 0; i < Tile::row_steps; ++i) {
        for (int j = 0; j < Tile::column_steps; ++j)
          multiply(&registers_[static_cast<std::size_t>(warp) * 32], i, j);
      }
    });
  }

 private:
  using Multiply = typename Tile::Multiply;
  using Registers = detail::Registers<Tile, Total>;
  struct Copy {
    void* to;
    unsigned char bytes[16];
    std::size_t size;
  };
  using Groups = std::vector<std::vector<Copy>>;

  std::vector<int> shuffled(int count) {
    std::vector<int> order(static_cast<std::size_t>(count));
    std::iota(order.begin(), order.end(), 0);
    std::shuffle(order.begin(), order.end(), dice_);
    return order;
  }

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
        Multiply::multiply(warp[lane].sums[i][j], warp[lane].rows[i], warp[lane].columns[j / 2][j % 2]);
    } else {
      typename Multiply::Rows rows[32];
      typename Multiply::Columns columns[32];
      for (int lane = 0; lane < 32; ++lane) {
        rows[lane] = warp[lane].rows[i];
        columns[lane] = warp[lane].columns[j / 2][j % 2];
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
  std::vector<Groups> copies_;                   ///< of each thread, on their way
  std::vector<std::function<void(int)>> to_do_;  ///< by each warp, up to the next barrier
  std::size_t thread_ = 0;                       ///< at work
  std::mt19937 dice_;
};

}  // namespace culprit::cuda::test
