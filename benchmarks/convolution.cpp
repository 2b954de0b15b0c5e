// SPDX-License-Identifier: MIT
// Time of one layer of one batch: the raw saliency of its filters, beside the batched weight gradient that a
// training step forms of the same input and gradient.
#include <string>
#include <vector>

#include <benchmark/benchmark.h>
#include <torch/torch.h>

#include "culprit/culprit.hpp"

namespace {

namespace cu = culprit;

struct Shape {
  std::string name;
  cu::Index batch, inputs, outputs, side, taps, stride, groups;
};

struct ConvolutionJob {
  ConvolutionJob(const Shape& shape, at::MemoryFormat format)
      : x(torch::randn({shape.batch, shape.inputs, shape.side, shape.side}).contiguous(format)),
        weight(torch::randn({shape.outputs, shape.inputs / shape.groups, shape.taps, shape.taps})
                   .contiguous(format)),
        use{cu::visit::ParameterUse::Kind::convolution, 0,     x, {}, {shape.stride, shape.stride},
            {shape.taps / 2, shape.taps / 2},           {1, 1}} {
    torch::manual_seed(1);
    use.groups = shape.groups;
    layer.shape = weight.sizes().vec();
    layer.count = shape.outputs;
    layer.size = weight.numel() / shape.outputs;
    dy = torch::randn_like(
        at::convolution(x, weight, {}, use.stride, use.padding, use.dilation, false, {0, 0}, use.groups));
    profiles = torch::empty({shape.batch, shape.outputs});
    operations = 2.0 * static_cast<double>(weight.numel() * dy.numel() / shape.outputs);
  }

  void report(benchmark::State& state) const {
    state.counters["FLOP/s"] = benchmark::Counter(operations, benchmark::Counter::kIsIterationInvariantRate);
  }

  torch::Tensor x, weight, dy, profiles;
  cu::visit::ParameterUse use;
  cu::Layer layer;
  double operations = 0;
};

void saliency(benchmark::State& state, const Shape& shape, at::MemoryFormat format) {
  ConvolutionJob job(shape, format);
  const cu::aggregate::MeanAbs mean_abs;
  for ([[maybe_unused]] const auto turn : state) {
    cu::engine::FusedOnCpu{}(mean_abs, job.use, job.layer, job.x, job.dy, job.profiles);
    benchmark::DoNotOptimize(job.profiles.const_data_ptr());
  }
  job.report(state);
}

void weight_gradient(benchmark::State& state, const Shape& shape, at::MemoryFormat format) {
  const ConvolutionJob job(shape, format);
  for ([[maybe_unused]] const auto turn : state) {
    const auto gradient = std::get<1>(
        at::convolution_backward(job.dy, job.x, job.weight, c10::nullopt, job.use.stride, job.use.padding,
                                 job.use.dilation, false, {0, 0}, job.use.groups, {false, true, false}));
    benchmark::DoNotOptimize(gradient.const_data_ptr());
  }
  job.report(state);
}

const bool registered = [] {
  for (const Shape& shape : std::vector<Shape>{
           {"resnet20/16x32x32_3x3", 128, 16, 16, 32, 3, 1, 1},
           {"resnet20/32x16x16_3x3", 128, 32, 32, 16, 3, 1, 1},
           {"resnet20/64x8x8_3x3", 128, 64, 64, 8, 3, 1, 1},
           {"resnet20/16x32x32_to_32_3x3_strided", 128, 16, 32, 32, 3, 2, 1},
           {"resnet50/3x224x224_7x7_strided", 8, 3, 64, 224, 7, 2, 1},
           {"resnet50/64x56x56_3x3", 8, 64, 64, 56, 3, 1, 1},
           {"resnet50/64x56x56_to_256_1x1", 8, 64, 256, 56, 1, 1, 1},
           {"resnet50/256x14x14_3x3", 8, 256, 256, 14, 3, 1, 1},
           {"resnet50/1024x14x14_to_256_1x1", 8, 1024, 256, 14, 1, 1, 1},
           {"resnet50/512x7x7_3x3", 8, 512, 512, 7, 3, 1, 1},
           {"resnet50/2048x7x7_to_512_1x1", 8, 2048, 512, 7, 1, 1, 1},
           {"vgg19/128x56x56_to_256_3x3", 4, 128, 256, 56, 3, 1, 1},
           {"vgg19/512x28x28_3x3", 4, 512, 512, 28, 3, 1, 1},
           {"mobilenet/64x28x28_depthwise", 32, 64, 64, 28, 3, 1, 64},
           {"mobilenet/256x7x7_depthwise", 32, 256, 256, 7, 3, 1, 256},
           {"mobilenet/128x14x14_1x1", 32, 128, 128, 14, 1, 1, 1},
       }) {
    for (const auto format : {at::MemoryFormat::Contiguous, at::MemoryFormat::ChannelsLast}) {
      const std::string name =
          shape.name + (format == at::MemoryFormat::ChannelsLast ? "/channels_last" : "/contiguous");
      benchmark::RegisterBenchmark(("layer/saliency/" + name).c_str(), saliency, shape, format)
          ->UseRealTime();
      benchmark::RegisterBenchmark(("layer/weight_gradient/" + name).c_str(), weight_gradient, shape, format)
          ->UseRealTime();
    }
  }
  return true;
}();

}  // namespace
