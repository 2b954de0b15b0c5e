// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <chrono>
#include <cstddef>
#include <filesystem>
#include <optional>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "culprit/io/checkpoint.hpp"

namespace culprit::cli {

/// The error of a checkpoint or store that cannot be gone on with, and what helps where that does.
[[nodiscard]] inline Error with_hint(const Error& error, const std::string& place) {
  const std::string& expected = error.expected();
  const bool starting_over_helps = error.code() == ErrorCode::format || expected.starts_with("a store of ") ||
                                   expected.starts_with("a checkpoint of ");
  return {error.code(), place, expected + (starting_over_helps ? " (--fresh starts over)" : ""),
          error.came()};
}

/// The state of a long run in a file beside its result, so that the same command goes on after whatever ended
/// it. The file goes when the result is written.
class Checkpoints {
 public:
  using Tensors = std::vector<std::pair<std::string, io::TensorView>>;

  /// @param file  beside the result @param job  what must be the same for a run to go on
  Checkpoints(std::filesystem::path file, io::Job job, bool fresh)
      : file_(std::move(file)), job_(std::move(job)), fresh_(fresh) {}

  /// Takes up what an earlier run of the same job left; nothing where there is none, or with --fresh.
  /// @throws Error naming the file and what is wrong with it
  /// @param restore  is given it; throws Error for one that cannot be
  template <class Restore>
  void load(const Restore& restore) const {
    if (fresh_) remove();
    try {
      const std::optional<io::Safetensors> checkpoint = io::load_checkpoint(file_, job_);
      if (checkpoint) restore(*checkpoint);
    } catch (const Error& error) {
      const std::string file = file_.string();
      throw with_hint(error, error.place().starts_with(file) ? error.place() : file + ", " + error.place());
    }
  }

  /// Saves every 1,000 samples or 10 seconds, whichever comes first, but where that takes long: in a
  /// twentieth of the time, and every 30 seconds.
  /// @param done  samples so far @param state  calls its argument with the tensors that load() is to give
  template <class State>
  void offer(std::size_t done, const State& state) {
    constexpr std::size_t most_samples = 1000;
    constexpr std::chrono::seconds most_time{10};
    constexpr Clock::duration longest{std::chrono::seconds{30}};
    const Clock::time_point now = Clock::now();
    if (now - saved_at_ < std::min(20 * took_, longest)) return;
    if (done - saved_ < most_samples && now - saved_at_ < most_time) return;
    save(state);
    saved_ = done;
    saved_at_ = Clock::now();
    took_ = saved_at_ - now;
  }

  /// Saves in any case.
  template <class State>
  void save(const State& state) const {
    state([&](const Tensors& tensors) { io::save_checkpoint(file_, job_, tensors); });
  }

  /// To be called once the result is there.
  void remove() const {
    std::error_code ignored;  // what is left of it would be of no harm but its size
    std::filesystem::remove(file_, ignored);
  }

 private:
  using Clock = std::chrono::steady_clock;

  std::filesystem::path file_;
  io::Job job_;
  bool fresh_;
  std::size_t saved_ = 0;
  Clock::time_point saved_at_ = Clock::now();
  Clock::duration took_{};
};

}  // namespace culprit::cli
