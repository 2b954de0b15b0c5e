// SPDX-License-Identifier: MIT
// The kernels on the device. The fused one against sums in float64 on the host: each multiplication, tile and
// way of loading, with an aggregation of the library and one of a user's; the ranking against a sort. Without
// a device only that they compile is tested, and the test is listed as skipped.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <numeric>
#include <random>
#include <string_view>
#include <vector>

#include <cuda_runtime.h>

#include "culprit/aggregate/mean_abs.hpp"
#include "culprit/cuda/dispatch.cuh"
#include "culprit/cuda/top_dispatch.cuh"
#include "culprit/standardize/z_score.hpp"

using namespace culprit::cuda;

namespace {

/// A user's aggregation: root of the mean square, and a number for zeros that is not zero.
struct Spread {
  static constexpr std::string_view name = "spread";
  struct Total {
    float sum, squares;
  };
  __host__ __device__ Total map(float g) const { return {g, g * g}; }
  __host__ __device__ Total combine(Total a, Total b) const { return {a.sum + b.sum, a.squares + b.squares}; }
  __host__ __device__ double finish(Total total, culprit::Index size) const {
    const double n = static_cast<double>(size);
    return std::sqrt(total.squares / n + offset) + std::abs(total.sum / n);
  }
  double offset = 0.5;
};

/// On the device, for as long as it lives.
template <class T>
class Memory {
 public:
  explicit Memory(std::int64_t count) : count_(static_cast<std::size_t>(count)) {
    require(cudaMalloc(&data_, bytes()));
  }
  explicit Memory(const std::vector<T>& numbers) : Memory(static_cast<std::int64_t>(numbers.size())) {
    require(cudaMemcpy(data_, numbers.data(), bytes(), cudaMemcpyHostToDevice));
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;
  ~Memory() { cudaFree(data_); }

  [[nodiscard]] T* data() const { return data_; }
  [[nodiscard]] std::vector<T> read() const {
    std::vector<T> numbers(count_);
    require(cudaMemcpy(numbers.data(), data_, bytes(), cudaMemcpyDeviceToHost));
    return numbers;
  }
  static void require(cudaError_t error) {
    if (error == cudaSuccess) return;
    std::printf("CUDA: %s\n", cudaGetErrorString(error));
    std::exit(1);
  }

 private:
  [[nodiscard]] std::size_t bytes() const { return count_ * sizeof(T); }
  T* data_ = nullptr;
  std::size_t count_;
};

struct Shape {
  int samples, groups, rows, channels, height, width, taps, stride, padding, dilation;
  bool channels_last;
};

template <class Multiply, class Policy>
bool agrees(const char* name, const Shape& shape, const Policy& policy, double tolerance) {
  using T = typename Multiply::Element;
  const int height =
      (shape.height + 2 * shape.padding - shape.dilation * (shape.taps - 1) - 1) / shape.stride + 1;
  const int width =
      (shape.width + 2 * shape.padding - shape.dilation * (shape.taps - 1) - 1) / shape.stride + 1;
  std::mt19937 dice(7);
  std::normal_distribution<float> normal;
  // Rounded to the fewest bits that any multiplication keeps: then all products are exact.
  const auto numbers = [&](int channels, int positions) {
    std::vector<T> all(static_cast<std::size_t>(shape.samples) * shape.groups * channels * positions);
    for (T& number : all) number = T(__bfloat162float(__float2bfloat16(normal(dice))));
    return all;
  };
  const std::vector<T> rows = numbers(shape.rows, height * width);
  const std::vector<T> columns = numbers(shape.channels, shape.height * shape.width);
  const auto factor = [&](const T* data, int channels, int h, int w) {
    const int all = shape.groups * channels;
    return shape.channels_last
               ? Factor<T>{data, std::int64_t{all} * h * w, channels, 1, w * all, all}
               : Factor<T>{data, std::int64_t{all} * h * w, std::int64_t{channels} * h * w, h * w, w, 1};
  };
  GradientProblem<T> problem{factor(rows.data(), shape.rows, height, width),
                             factor(columns.data(), shape.channels, shape.height, shape.width),
                             shape.samples,
                             shape.groups,
                             shape.rows,
                             shape.channels,
                             height,
                             width,
                             shape.height,
                             shape.width,
                             shape.taps,
                             shape.taps,
                             shape.stride,
                             shape.stride,
                             shape.padding,
                             shape.padding,
                             shape.dilation,
                             shape.dilation};
  std::vector<double> expected;
  double largest = 0;
  for (int b = 0; b < shape.samples; ++b) {
    for (int g = 0; g < shape.groups; ++g) {
      for (int r = 0; r < shape.rows; ++r) {
        decltype(policy.map(0.0F)) total{};
        for (int n = 0; n < problem.size(); ++n) {
          const int c = n / (shape.taps * shape.taps), i = n / shape.taps % shape.taps, j = n % shape.taps;
          double sum = 0;
          for (int y = 0; y < height; ++y) {
            for (int x = 0; x < width; ++x) {
              const int v = y * shape.stride + i * shape.dilation - shape.padding;
              const int u = x * shape.stride + j * shape.dilation - shape.padding;
              if (v < 0 || v >= shape.height || u < 0 || u >= shape.width) continue;
              const auto at = [&](const Factor<T>& f, int channel, int y0, int x0) {
                return static_cast<double>(
                    static_cast<float>(f.data[b * f.sample + g * f.group + std::int64_t{channel} * f.channel +
                                              y0 * f.y + x0 * f.x]));
              };
              sum += at(problem.rows, r, y, x) * at(problem.columns, c, v, u);
            }
          }
          const auto value = policy.map(static_cast<float>(sum));
          total = n == 0 ? value : policy.combine(total, value);
        }
        expected.push_back(policy.finish(total, problem.size()));
        largest = std::max(largest, std::abs(expected.back()));
      }
    }
  }
  const Memory<T> rows_there(rows), columns_there(columns);
  problem.rows.data = rows_there.data();
  problem.columns.data = columns_there.data();
  const Memory<float> result(std::vector<float>(expected.size(), NAN));
  Memory<unsigned char>* memory = nullptr;
  const cudaError_t launched = reduce_gradients<Multiply>(
      problem, policy,
      [&](std::int64_t bytes) {
        memory = new Memory<unsigned char>(bytes);
        return memory->data();
      },
      result.data(), shape.groups * shape.rows, nullptr);
  Memory<float>::require(launched);
  Memory<float>::require(cudaDeviceSynchronize());
  delete memory;
  const std::vector<float> found = result.read();
  double worst = 0;
  for (std::size_t i = 0; i < found.size(); ++i) {
    const double error = std::abs(found[i] - expected[i]) / largest;
    worst = error <= worst ? worst : error;  // NaN stays
  }
  std::printf("%s %s, %d x %d rows, %d channels, %d x %d, taps %d: %.2e\n", name, Policy::name.data(),
              shape.groups, shape.rows, shape.channels, height, width, shape.taps, worst);
  return worst < tolerance;
}

template <class Multiply>
int count_wrong(const char* name) {
  // Sums of n terms in float32 are off by sqrt(n) units in the last place of the sum of magnitudes, at most a
  // few thousand terms here: 2^-24 * 100, and the aggregations' own sums.
  constexpr double tolerance = 1e-5;
  int wrong = 0;
  for (const Shape& shape :
       {Shape{3, 1, 100, 7, 14, 14, 3, 1, 1, 1, false}, Shape{2, 1, 40, 20, 8, 8, 1, 1, 0, 1, false},
        Shape{2, 1, 130, 70, 7, 7, 1, 1, 0, 1, false}, Shape{2, 2, 5, 6, 12, 9, 3, 2, 1, 2, false},
        Shape{2, 1, 33, 24, 10, 10, 3, 1, 1, 1, true}, Shape{4, 1, 20, 300, 1, 1, 1, 1, 0, 1, false},
        Shape{2, 1, 90, 50, 1, 24, 1, 1, 0, 1, true}, Shape{2, 1, 16, 16, 32, 32, 3, 1, 1, 1, false},
        // Stages of half a row and of four, taps seven and eleven wide, and taps too far apart to share.
        Shape{1, 1, 40, 9, 12, 56, 3, 1, 1, 1, false}, Shape{2, 1, 130, 17, 7, 7, 3, 1, 1, 1, false},
        Shape{1, 1, 20, 3, 60, 60, 7, 2, 3, 1, false}, Shape{1, 1, 20, 3, 63, 63, 11, 4, 2, 1, false},
        Shape{1, 1, 20, 40, 20, 20, 3, 1, 12, 12, false},
        // So many samples that a block has several tiles of columns.
        Shape{1200, 1, 20, 300, 4, 4, 1, 1, 0, 1, false}, Shape{600, 1, 70, 40, 6, 6, 3, 1, 1, 1, false}}) {
    wrong += agrees<Multiply>(name, shape, culprit::aggregate::MeanAbs{}, tolerance) ? 0 : 1;
    wrong += agrees<Multiply>(name, shape, Spread{}, tolerance) ? 0 : 1;
  }
  return wrong;
}

/// Ranks rows with ties, dead units, infinities and a NaN.
template <class T>
int count_wrong_tops(int units, int count) {
  constexpr int samples = 5;
  std::mt19937 dice(11);
  std::vector<culprit::UnitStatistics> usual;
  for (int u = 0; u < units; ++u)
    usual.push_back({0.125 * static_cast<double>(dice() % 4), u % 7 == 0 ? 0.0 : 0.5});
  std::vector<T> raw;
  for (int i = 0; i < samples * units; ++i) raw.push_back(static_cast<T>(dice() % 64) / 16);
  raw[static_cast<std::size_t>(units) + 1] = INFINITY;
  raw[static_cast<std::size_t>(2 * units) + 2] = NAN;
  const culprit::standardize::ZScore standardization;
  const Memory<T> raw_there(raw);
  const Memory<culprit::UnitStatistics> usual_there(usual);
  const Memory<double> values(samples * count);
  const Memory<std::int64_t> indices(samples * count);
  const TopTask<T> task{raw_there.data(), usual_there.data(), units, count, values.data(), indices.data()};
  Memory<T>::require(find_top_units(task, standardization, samples, nullptr));
  Memory<T>::require(cudaDeviceSynchronize());
  const std::vector<double> values_found = values.read();
  const std::vector<std::int64_t> found = indices.read();
  int wrong = 0;
  for (int sample = 0; sample < samples; ++sample) {
    std::vector<double> z;
    for (int u = 0; u < units; ++u)
      z.push_back(standardization(static_cast<double>(raw[static_cast<std::size_t>(sample * units + u)]),
                                  usual[static_cast<std::size_t>(u)]));
    std::vector<std::int64_t> order(static_cast<std::size_t>(units));
    std::iota(order.begin(), order.end(), 0);
    const auto key = [&](std::int64_t u) {
      const double value = z[static_cast<std::size_t>(u)];
      return std::pair(std::isnan(value), value);
    };
    std::stable_sort(order.begin(), order.end(), [&](auto a, auto b) { return key(a) > key(b); });
    for (int i = 0; i < count; ++i) {
      const auto place = static_cast<std::size_t>(sample * count + i);
      const std::int64_t expected = order[static_cast<std::size_t>(i)];
      const double value = z[static_cast<std::size_t>(expected)];
      const bool same =
          values_found[place] == value || (std::isnan(value) && std::isnan(values_found[place]));
      wrong += found[place] == expected && same ? 0 : 1;
    }
  }
  std::printf("top %d of %d units: %d wrong\n", count, units, wrong);
  return wrong;
}

/// What resources.py compares with what was compiled.
template <class Multiply>
void print_tiles(const char* name) {
  for (const int rows : {128, 64, 32}) {
    with_tile<Multiply>(GradientProblem<typename Multiply::Element>{.row_count = rows}, [&]<class Tile>() {
      std::printf("%s %d %d %d %d %d %d %zu\n", name, Tile::row_warps, Tile::column_warps, Tile::row_steps,
                  Tile::column_steps, Tile::threads, Tile::resident, sizeof(detail::Shared<Tile, float>));
    });
  }
}

}  // namespace

int main(int argc, char** argv) {
  if (argc > 1 && std::string_view(argv[1]) == "--tiles") {
    print_tiles<Float32>("Float32");
    print_tiles<Tf32>("Tf32");
    print_tiles<Bfloat16>("Bfloat16");
    print_tiles<Float16>("Float16");
    return 0;
  }
  int devices = 0;
  if (cudaGetDeviceCount(&devices) != cudaSuccess || devices == 0) {
    std::puts("SKIPPED: needs a CUDA device");
    return 0;
  }
  return count_wrong<Float32>("float32") + count_wrong<Tf32>("tf32") + count_wrong<Bfloat16>("bfloat16") +
         count_wrong<Float16>("float16") + count_wrong_tops<float>(5000, 10) +
         count_wrong_tops<float>(3000, 1024) + count_wrong_tops<double>(17, 17);
}
