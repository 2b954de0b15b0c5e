// SPDX-License-Identifier: MIT
#pragma once

#include <chrono>
#include <cstddef>
#include <filesystem>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include <ATen/ops/cat.h>
#include <torch/types.h>

#include "cli/checkpoints.hpp"
#include "cli/options.hpp"
#include "cli/outputs.hpp"
#include "cli/progress.hpp"
#include "culprit/io/safetensors.hpp"
#include "culprit/io/store_folder.hpp"

namespace culprit::cli {

/// One long stage of an experiment: a row of numbers for each sample or trial, kept in a store beside the
/// results until these are written, so that the same command goes on behind what an earlier run has done.
class Stage {
 public:
  /// Where the experiment's stages are kept.
  [[nodiscard]] static std::filesystem::path folder_of(const Options& options) {
    return std::filesystem::path(options.out) / (options.experiment + ".parts");
  }

  /// Removes what is kept of all stages.
  static void remove_all(const Options& options) {
    std::error_code failure;
    std::vector<std::filesystem::path> stages;
    for (auto entry = std::filesystem::directory_iterator(folder_of(options), failure);
         !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure))
      stages.push_back(entry->path());
    for (const std::filesystem::path& stage : stages) {
      if (stage.extension() == ".safetensors") {
        std::filesystem::remove(stage, failure);
      } else {
        io::StoreFolder::remove(stage);
      }
    }
    std::filesystem::remove(folder_of(options), failure);
  }

  /// @param name  of the stage, for its folder @param task  for the progress @param total  rows
  /// @throws Error naming the difference to the job whose rows are there
  Stage(const Options& options, const io::Job& job, const std::string& name, const std::string& task,
        std::size_t total)
      : store_(opened(folder_of(options) / name, job, total)), progress_(task, total, done()) {
    for (const std::filesystem::path& file : store_.paths()) {
      const io::Safetensors tensors = io::Safetensors::open(file);
      const io::TensorView& rows = tensors.at("rows");
      const auto values = tensors.read<double>("rows");
      rows_.push_back(torch::tensor(values, torch::kFloat64).view(rows.shape));
    }
    saved_ = rows_.size();
    Index rows = 0;
    for (const torch::Tensor& some : rows_) rows += some.dim() > 0 ? some.size(0) : 0;
    if (rows != store_.done()) {
      throw Error(ErrorCode::format, (folder_of(options) / name).string(),
                  std::to_string(store_.done()) + " rows", std::to_string(rows));
    }
  }

  /// Rows that are there.
  [[nodiscard]] std::size_t done() const { return static_cast<std::size_t>(store_.done() + held_); }

  /// Those of a list that have no row yet.
  template <class T>
  [[nodiscard]] std::vector<T> left_of(const std::vector<T>& list) const {
    return {list.begin() + static_cast<std::ptrdiff_t>(done()), list.end()};
  }

  /// @param rows  [n, ...], the next ones
  void put(const torch::Tensor& rows) {
    rows_.push_back(rows.to(torch::kCPU, torch::kFloat64).contiguous());
    held_ += rows.size(0);
    progress_.update(done());
    constexpr Index most_rows = 1000;
    constexpr std::chrono::seconds most_time{10};
    if (held_ >= most_rows || Clock::now() - saved_at_ >= most_time) save();
  }

  /// All rows: float64 [total, ...].
  [[nodiscard]] torch::Tensor all() {
    save();
    return at::cat(rows_);
  }

 private:
  using Clock = std::chrono::steady_clock;

  static io::StoreFolder opened(const std::filesystem::path& folder, const io::Job& job, std::size_t total) {
    try {
      return io::StoreFolder::go_on(folder, job, static_cast<std::int64_t>(total));
    } catch (const Error& error) {
      throw with_hint(error, error.place());
    }
  }

  void save() {
    if (held_ == 0) return;
    const torch::Tensor rows =
        at::cat(std::vector<torch::Tensor>(rows_.begin() + static_cast<std::ptrdiff_t>(saved_), rows_.end()));
    store_.append(std::exchange(held_, 0),
                  std::vector<std::pair<std::string, io::TensorView>>{{"rows", view_of(rows)}}, {});
    saved_ = rows_.size();
    saved_at_ = Clock::now();
  }

  io::StoreFolder store_;
  std::vector<torch::Tensor> rows_;
  std::size_t saved_ = 0;  ///< tensors of the list that are in the store
  Index held_ = 0;         ///< rows that are not
  Progress progress_;
  Clock::time_point saved_at_ = Clock::now();
};

}  // namespace culprit::cli
