// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <iterator>
#include <map>
#include <memory>
#include <mutex>
#include <numeric>
#include <optional>
#include <stop_token>
#include <string>
#include <thread>
#include <utility>
#include <variant>
#include <vector>

#include <ATen/ops/empty.h>
#include <torch/types.h>

#include "culprit/core/error.hpp"
#include "item.hpp"
#include "preprocess.hpp"

namespace culprit::data {

/// Some samples, ready for a model.
struct Batch {
  torch::Tensor inputs;              ///< [B, channels, height, width]
  torch::Tensor labels;              ///< [B], int64
  std::vector<std::size_t> indices;  ///< of the samples in the data set
};

struct LoaderOptions {
  std::size_t batch = 64;                ///< samples in a batch; the last one may be smaller
  torch::Dtype dtype = torch::kFloat32;  ///< of the inputs
  std::size_t limit = 0;                 ///< stop after so many samples, 0 for all
  std::size_t prefetch = 2;              ///< threads that decode, each at most two batches ahead
  /// The samples to load, in this order; all of the data set without it.
  std::optional<std::vector<std::size_t>> indices = std::nullopt;
};

/// The batches of a data set, decoded by background threads while the caller computes: an input range that
/// begins anew, from the first batch, with each call of begin(). The order does not depend on the threads.
/// What a thread throws comes out of the iterator at the batch it belongs to.
class Loader {
 public:
  /// @param set must outlive the loader
  /// @throws Error argument for an option outside its domain
  Loader(const Dataset& set, Preprocess preprocess, LoaderOptions options = {})
      : set_(set), preprocess_(std::move(preprocess)), options_(std::move(options)) {
    preprocess_.check();
    if (options_.batch == 0) throw Error(ErrorCode::argument, "loader", "batches of at least 1 sample", "0");
    if (options_.prefetch == 0) throw Error(ErrorCode::argument, "loader", "at least 1 decoding thread", "0");
    if (options_.indices) {
      indices_ = *std::move(options_.indices);
    } else {
      indices_.resize(set.size());
      std::iota(indices_.begin(), indices_.end(), std::size_t{0});
    }
    if (options_.limit != 0 && options_.limit < indices_.size()) indices_.resize(options_.limit);
    for (const std::size_t i : indices_) {
      if (i >= set.size()) {
        throw Error(ErrorCode::argument, "loader", "indices below " + std::to_string(set.size()),
                    std::to_string(i));
      }
    }
  }

  /// Samples in one pass.
  [[nodiscard]] std::size_t size() const { return indices_.size(); }
  /// Batches in one pass.
  [[nodiscard]] std::size_t batches() const {
    return (indices_.size() + options_.batch - 1) / options_.batch;
  }
  /// For how long the caller has waited for batches, over all passes: near 0 when decoding keeps up.
  [[nodiscard]] double wait_seconds() const { return wait_seconds_; }

  class Iterator;
  [[nodiscard]] Iterator begin();
  [[nodiscard]] static std::default_sentinel_t end() { return {}; }

 private:
  class Pass;

  /// Decodes batch number `number`; a part of it when told to stop.
  [[nodiscard]] Batch make_batch(std::size_t number, const std::stop_token& stop) const;

  const Dataset& set_;
  Preprocess preprocess_;
  LoaderOptions options_;
  std::vector<std::size_t> indices_;
  double wait_seconds_ = 0;
};

/// One run over the batches: the threads and what they have ready.
class Loader::Pass {
 public:
  explicit Pass(const Loader& loader) : loader_(loader) {
    for (std::size_t i = 0; i < std::min(loader.options_.prefetch, loader.batches()); ++i)
      threads_.emplace_back([this](const std::stop_token& stop) { work(stop); });
  }

  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;
  ~Pass() {
    // All at once: each thread is joined after the picture that it is at.
    for (std::jthread& thread : threads_) thread.request_stop();
  }

  /// Waits for the next batch; nothing at the end.
  [[nodiscard]] std::optional<Batch> next() {
    std::unique_lock lock(mutex_);
    if (taken_ == loader_.batches()) return std::nullopt;
    arrived_.wait(lock, [this] { return ready_.contains(taken_); });
    auto result = std::move(ready_.extract(taken_).mapped());
    ++taken_;
    lock.unlock();
    room_.notify_all();
    if (const auto* thrown = std::get_if<std::exception_ptr>(&result)) std::rethrow_exception(*thrown);
    return std::get<Batch>(std::move(result));
  }

 private:
  void work(const std::stop_token& stop) {
    for (;;) {
      std::unique_lock lock(mutex_);
      room_.wait(lock, stop, [this] { return started_ < taken_ + 2 * loader_.options_.prefetch; });
      if (stop.stop_requested() || started_ == loader_.batches()) return;
      const std::size_t number = started_++;
      lock.unlock();
      std::variant<std::exception_ptr, Batch> result;
      try {
        result = loader_.make_batch(number, stop);
      } catch (...) {
        result = std::current_exception();
      }
      lock.lock();
      ready_.emplace(number, std::move(result));
      lock.unlock();
      arrived_.notify_one();
    }
  }

  const Loader& loader_;
  std::mutex mutex_;
  std::condition_variable_any room_;
  std::condition_variable arrived_;
  std::map<std::size_t, std::variant<std::exception_ptr, Batch>> ready_;
  std::size_t started_ = 0;
  std::size_t taken_ = 0;
  std::vector<std::jthread> threads_;  // last: joined before what the threads use is destroyed
};

/// Moves through one pass and owns its threads: destroying it, at the end or before, ends them.
class Loader::Iterator {
 public:
  using value_type = Batch;
  using difference_type = std::ptrdiff_t;

  explicit Iterator(Loader& loader) : loader_(&loader), pass_(std::make_unique<Pass>(loader)) { ++*this; }

  [[nodiscard]] const Batch& operator*() const { return *batch_; }
  [[nodiscard]] const Batch* operator->() const { return &*batch_; }
  Iterator& operator++() {
    const auto start = std::chrono::steady_clock::now();
    batch_ = pass_->next();
    loader_->wait_seconds_ += std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    return *this;
  }
  void operator++(int) { ++*this; }
  [[nodiscard]] bool operator==(std::default_sentinel_t) const { return !batch_; }

 private:
  Loader* loader_;
  std::unique_ptr<Pass> pass_;
  std::optional<Batch> batch_;
};

inline Loader::Iterator Loader::begin() { return Iterator(*this); }

inline Batch Loader::make_batch(std::size_t number, const std::stop_token& stop) const {
  const std::size_t first = number * options_.batch;
  const std::size_t count = std::min(options_.batch, indices_.size() - first);
  const auto begin = indices_.begin() + static_cast<std::ptrdiff_t>(first);
  const auto length = static_cast<std::int64_t>(count);
  Batch batch{{}, at::empty({length}, at::kLong), {begin, begin + static_cast<std::ptrdiff_t>(count)}};
  for (std::int64_t k = 0; k < length && !stop.stop_requested(); ++k) {
    const std::size_t i = batch.indices[static_cast<std::size_t>(k)];
    const Item item = set_.item(i);
    const Image picture = preprocess_.geometry(set_.image(i), item.path);
    if (k == 0) {
      const auto channels = static_cast<std::int64_t>(preprocess_.mean.size());
      batch.inputs = at::empty({length, channels, picture.height, picture.width}, options_.dtype);
    } else if (picture.width != batch.inputs.size(3) || picture.height != batch.inputs.size(2)) {
      throw Error(ErrorCode::shape, item.path,
                  std::to_string(batch.inputs.size(3)) + " x " + std::to_string(batch.inputs.size(2)) +
                      " pixels, as the rest of its batch",
                  std::to_string(picture.width) + " x " + std::to_string(picture.height));
    }
    preprocess_.normalise(picture, batch.inputs[k], item.path);
    batch.labels.data_ptr<std::int64_t>()[k] = item.label;
  }
  return batch;
}

static_assert(std::input_iterator<Loader::Iterator>);
static_assert(std::sentinel_for<std::default_sentinel_t, Loader::Iterator>);

}  // namespace culprit::data
