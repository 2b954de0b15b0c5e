// SPDX-License-Identifier: MIT
#pragma once

#include <cstdint>
#include <type_traits>

#include <cuda_bf16.h>
#include <cuda_fp16.h>

// How a warp multiplies a tile of 16 rows with one of 8 columns, both from shared memory, where the terms of
// a sum lie side by side. Each thread has four of the sums: rows g and g + 8, columns 2 t and 2 t + 1, with g
// = lane / 4 and t = lane % 4 (PTX ISA, "Matrix Fragments for mma.m16n8k8"). `collective`: the threads of the
// warp work on each other's factors.
//
// Of columns two tiles are loaded at a time. Where several columns share numbers, their terms do not lie side
// by side: `gather` finds them, of the columns that a thread has factors of, from where each column begins
// and where each term is from there.
namespace culprit::cuda {

namespace detail {

/// In bytes, for an addition of an index takes a shift too.
template <class T>
[[nodiscard]] __host__ __device__ const T* at(const T* from, int bytes) {
  return reinterpret_cast<const T*>(reinterpret_cast<const unsigned char*>(from) + bytes);
}

}  // namespace detail

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

  using Places = int2;  ///< of both terms

  static constexpr int own_columns = 2;  ///< that a thread has factors of
  /// Which these are.
  static __host__ __device__ int own_column(int lane, int i) { return lane % 4 * 2 + i; }
  /// Those of the terms that a thread has.
  static __host__ __device__ Places places(const int* terms, int /*lane*/) {
    return *reinterpret_cast<const Places*>(terms);
  }
  /// Loads columns that share numbers with others.
  template <class Block>
  static __host__ __device__ void gather(const Block&, Columns& to, const float* from,
                                         const int (&begin)[own_columns], Places places) {
#pragma unroll
    for (int i = 0; i < 2; ++i)
      to.at[i] = make_float2(*detail::at(from, begin[i] + places.x), *detail::at(from, begin[i] + places.y));
  }
  template <int pitch, class Block>
  static __host__ __device__ void load(const Block&, Rows& to, const float* from, int lane) {
    const float* const row = from + lane / 4 * pitch;
    to.at[0] = *reinterpret_cast<const float2*>(row);
    to.at[1] = *reinterpret_cast<const float2*>(row + 8 * pitch);
  }
  template <int pitch, class Block>
  static __host__ __device__ void load(const Block&, Columns (&to)[2], const float* from, int lane) {
#pragma unroll
    for (int i = 0; i < 4; ++i)
      to[i / 2].at[i % 2] =
          *reinterpret_cast<const float2*>(from + (i / 2 * 8 + lane % 4 * 2 + i % 2) * pitch);
  }
  static __host__ __device__ void multiply(float (&sums)[4], const Rows& rows, const Columns& columns) {
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      sums[i] += rows.at[i / 2].x * columns.at[i % 2].x;
      sums[i] += rows.at[i / 2].y * columns.at[i % 2].y;
    }
  }
};

namespace detail {

/// What multiplications of tensor cores have in common: registers of one number of 32 bits, or two of 16.
template <class T>
struct OnTensorCores {
  using Element = T;
  static constexpr int depth = 32 / static_cast<int>(sizeof(T));
  static constexpr bool collective = true;
  static constexpr int in_word = 4 / static_cast<int>(sizeof(T));  ///< terms

  // Of terms, or of pairs of them: 2 t and 2 t + 1 for t.
  struct Rows {
    std::uint32_t at[4];  ///< (g, t), (g + 8, t), (g, t + 4), (g + 8, t + 4)
  };
  struct Columns {
    std::uint32_t at[2];  ///< (t, g), (t + 4, g)
  };
  struct Places {
    int at[2][4 / sizeof(T)];
  };

  template <int pitch, class Block>
  static __host__ __device__ void load(const Block& block, Rows& to, const T* from, int lane) {
    block.matrices(
        to.at, [from](int of) { return from + of % 16 * pitch + of / 16 * (depth / 2); }, lane);
#pragma unroll
    for (std::uint32_t& word : to.at) word = rounded(block, word);
  }
  template <int pitch, class Block>
  static __host__ __device__ void load(const Block& block, Columns (&to)[2], const T* from, int lane) {
    std::uint32_t words[4];
    block.matrices(
        words, [from](int of) { return from + (of / 16 * 8 + of % 8) * pitch + of / 8 % 2 * (depth / 2); },
        lane);
#pragma unroll
    for (int i = 0; i < 4; ++i) to[i / 2].at[i % 2] = rounded(block, words[i]);
  }

  static constexpr int own_columns = 1;
  static __host__ __device__ int own_column(int lane, int /*i*/) { return lane / 4; }
  static __host__ __device__ Places places(const int* terms, int lane) {
    Places places;
#pragma unroll
    for (int i = 0; i < 2; ++i) {
#pragma unroll
      for (int j = 0; j < in_word; ++j) places.at[i][j] = terms[(lane % 4 + i * 4) * in_word + j];
    }
    return places;
  }
  template <class Block>
  static __host__ __device__ void gather(const Block& block, Columns& to, const T* from,
                                         const int (&begin)[own_columns], const Places& places) {
    using Bits = std::conditional_t<sizeof(T) == 4, std::uint32_t, std::uint16_t>;
    const auto* const bits = reinterpret_cast<const Bits*>(from);
#pragma unroll
    for (int i = 0; i < 2; ++i) {
      std::uint32_t word = 0;
#pragma unroll
      for (int j = 0; j < in_word; ++j)
        word |= std::uint32_t{*at(bits, begin[0] + places.at[i][j])} << (16 * j);
      to.at[i] = rounded(block, word);
    }
  }

 private:
  template <class Block>
  static __host__ __device__ std::uint32_t rounded(const Block& block, std::uint32_t word) {
    if constexpr (sizeof(T) == 4) {
      return block.tf32(word);
    } else {
      return word;
    }
  }
};

}  // namespace detail

/// float32 in, rounded to TF32 (10 bits of mantissa) for tensor cores; sums in float32.
struct Tf32 : detail::OnTensorCores<float> {
  static __device__ void multiply(float (&sums)[4], const Rows& rows, const Columns& columns) {
    asm("mma.sync.aligned.m16n8k8.row.col.f32.tf32.tf32.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(rows.at[0]), "r"(rows.at[1]), "r"(rows.at[2]), "r"(rows.at[3]), "r"(columns.at[0]),
          "r"(columns.at[1]));
  }
};

/// bfloat16 in, for tensor cores; sums in float32.
struct Bfloat16 : detail::OnTensorCores<__nv_bfloat16> {
  static __device__ void multiply(float (&sums)[4], const Rows& rows, const Columns& columns) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(rows.at[0]), "r"(rows.at[1]), "r"(rows.at[2]), "r"(rows.at[3]), "r"(columns.at[0]),
          "r"(columns.at[1]));
  }
};

/// float16 in, for tensor cores; sums in float32.
struct Float16 : detail::OnTensorCores<__half> {
  static __device__ void multiply(float (&sums)[4], const Rows& rows, const Columns& columns) {
    asm("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
        "{%0, %1, %2, %3};"
        : "+f"(sums[0]), "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3])
        : "r"(rows.at[0]), "r"(rows.at[1]), "r"(rows.at[2]), "r"(rows.at[3]), "r"(columns.at[0]),
          "r"(columns.at[1]));
  }
};

}  // namespace culprit::cuda
