// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// How a warp multiplies a tile of 16 rows with one of 8 columns, both from shared memory, where the terms of
// a sum lie side by side. Each thread has four of the sums: rows g and g + 8, columns 2 t and 2 t + 1, with g
// = lane / 4 and t = lane % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k8"). `collective`: the threads of the
// warp work on each other's factors.
namespace culprit::cuda {

/// float32 in, float32 multiplications and additions: exact but for their rounding.
struct Float32 {
  using Element = float;
  static constexpr int depth = 2;  ///< terms of each sum that one multiplication adds
  static constexpr bool collective = false;

  struct Rows {
    float2 at[2];  ///< (g, 0) and (g, 1), (g + 8, 0) and (g + 8, 1)
  };
  struct Columns {
    float2 at[2];  ///< (0, 2 t) and (1, 2 t), (0, 2 t + 1) and (1, 2 t + 1)
  };

  template <int pitch, class Block>
  static __host__ __device__ void load(const Block&, Rows& to, const float* from, int lane) {
    const float* const row = from + lane / 4 * pitch;
    to.at[0] = *reinterpret_cast<const float2*>(row);
    to.at[1] = *reinterpret_cast<const float2*>(row + 8 * pitch);
  }
  template <int pitch, class Block>
  static __host__ __device__ void load(const Block&, Columns& to, const float* from, int lane) {
    const float* const column = from + lane % 4 * 2 * pitch;
    to.at[0] = *reinterpret_cast<const float2*>(column);
    to.at[1] = *reinterpret_cast<const float2*>(column + pitch);
  }
  static __host__ __device__ void multiply(float (&sums)[4], const Rows& rows, const Columns& columns) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums[i] += rows.at[i / 2].x * columns.at[i % 2].x;
      sums[i] += rows.at[i / 2].y * columns.at[i % 2].y;
    }
  }
};

/// float32 in, rounded to TF32 (10 bits of mantissa) for tensor cores; sums in float32.
struct Tf32 {
  using Element = float;
  static constexpr int depth = 8;
  static constexpr bool collective = true;

  struct Rows {
    std::uint32_t at[4];  ///< (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
  };
  struct Columns {
    std::uint32_t at[2];  ///< (t, g), (t + 4, g)
  };

  template <int pitch, class Block>
  static __host__ __device__ void load(const Block& block, Rows& to, const float* from, int lane) {
    const float* const first = from + lane / 4 * pitch + lane % 4;
#pragma unroll
    for (int i = 0; i < 4; ++i) to.at[i] = block.tf32(first[i % 2 * 8 * pitch + i / 2 * 4]);
  }
  template <int pitch, class Block>
  static __host__ __device__ void load(const Block& block, Columns& to, const float* from, int lane) {
    const float* const first = from + lane / 4 * pitch + lane % 4;
    to.at[0] = block.tf32(first[0]);
    to.at[1] = block.tf32(first[4]);
  }
  static __device__ void multiply(float (&sums)[4], const Rows& rows, const Columns& columns) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(rows.at[0]), "r"(rows.at[1]), "r"(rows.at[2]), "r"(rows.at[3]), "r"(columns.at[0]),
          "r"(columns.at[1]));
  }
};

namespace detail {

/// What numbers of 16 bits have in common: two terms in each register.
template <class T>
struct Half {
  using Element = T;
  static constexpr int depth = 16;
  static constexpr bool collective = true;

  struct Rows {
    std::uint32_t at[4];  ///< as those of Tf32, of pairs of terms: 2 t and 2 t + 1 for t
  };
  struct Columns {
    std::uint32_t at[2];
  };

  template <int pitch, class Block>
  static __host__ __device__ void load(const Block&, Rows& to, const T* from, int lane) {
    const T* const first = from + lane / 4 * pitch + lane % 4 * 2;
#pragma unroll
    for (int i = 0; i < 4; ++i)
      to.at[i] = *reinterpret_cast<const std::uint32_t*>(first + i % 2 * 8 * pitch + i / 2 * 8);
  }
  template <int pitch, class Block>
  static __host__ __device__ void load(const Block&, Columns& to, const T* from, int lane) {
    const T* const first = from + lane / 4 * pitch + lane % 4 * 2;
    to.at[0] = *reinterpret_cast<const std::uint32_t*>(first);
    to.at[1] = *reinterpret_cast<const std::uint32_t*>(first + 8);
  }
};

}  // namespace detail

/// bfloat16 in, for tensor cores; sums in float32.
struct Bfloat16 : detail::Half<__nv_bfloat16> {
  static __device__ void multiply(float (&sums)[4], const Rows& rows, const Columns& columns) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(rows.at[0]), "r"(rows.at[1]), "r"(rows.at[2]), "r"(rows.at[3]), "r"(columns.at[0]),
          "r"(columns.at[1]));
  }
};

/// float16 in, for tensor cores; sums in float32.
struct Float16 : detail::Half<__half> {
  static __device__ void multiply(float (&sums)[4], const Rows& rows, const Columns& columns) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(rows.at[0]), "r"(rows.at[1]), "r"(rows.at[2]), "r"(rows.at[3]), "r"(columns.at[0]),
          "r"(columns.at[1]));
  }
};

}  // namespace culprit::cuda
