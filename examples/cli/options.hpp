// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "culprit/core/units.hpp"

namespace culprit::cli {

enum class Command { fit, merge, profile, explain, neighbors, experiment, report };

/// What the options of the same names take; the first is the default.
inline const std::vector<std::string> aggregations{"mean_abs",   "mean",           "l2_norm",    "max_abs",
                                                   "median_abs", "parameter_wise", "tensor_mean"};
inline const std::vector<std::string> standardizations{"z_score", "mean_ratio", "identity", "robust"};
inline const std::vector<std::string> distances{"cosine", "euclidean"};
inline const std::vector<std::string> colour_maps{"viridis", "jet"};
inline const std::vector<std::string> spaces{"z", "raw"};
inline const std::vector<std::string> amongs{"all", "wrong"};
inline const std::vector<std::string> engines{"batched", "loop"};
inline const std::vector<std::string> dtypes{"float32", "float64"};
inline const std::vector<std::string> store_dtypes{"bfloat16", "float32"};
inline const std::vector<std::string> non_finites{"refuse", "skip", "keep"};
inline const std::vector<std::string> experiments{"correctness", "prune", "neighbors", "finetune", "mask"};
inline const std::vector<std::string> presets{"cifar10", "imagenet", "fashion"};

/// The options of every command as they were given; an empty text is one that was not.
struct Options {
  Command command = Command::fit;

  std::string model;  ///< NAME:WEIGHTS.safetensors or FILE.pt
  std::string data;   ///< KIND:PLACE
  std::string image;  ///< one picture instead of `data`, with `label`
  std::int64_t label = 0;
  std::string classes;  ///< file of lines `index name...`

  std::string preset;
  int resize = 0;
  int crop = 0;
  std::vector<double> mean;
  std::vector<double> std;

  std::size_t batch = 64;
  std::size_t limit = 0;              ///< 0: all
  std::size_t shard = 0, shards = 0;  ///< which of how many parts of the samples; 0: all samples
  std::size_t workers = 0;  ///< threads that each compute a batch or a share of one; 0: as LibTorch has
  bool fresh = false;       ///< whatever an earlier run left is not gone on with
  std::optional<std::uint64_t> seed;  ///< given: `limit` draws at random instead of taking the first
  std::string dtype = dtypes.front();
  std::string engine = engines.front();
  std::string device = "cpu";
  std::string non_finite = non_finites.front();
  bool isolate = false;          ///< the model is loaded and run in a child process
  std::uint64_t time_limit = 0;  ///< seconds that the child may take; 0: any
  std::string store_dtype;       ///< of profiles in files; empty: what they are computed in
  std::string target = "label";  ///< label, predicted, or a class index
  std::string aggregate = aggregations.front();
  std::string units = "filters";  ///< what a unit is, as visitor() reads it
  std::string standardize = standardizations.front();
  std::string layers;  ///< which to compute, as layer_range() reads it; empty: all

  std::string filters = "top:10";  ///< to boost, as selection() reads it
  double boost = 100;
  std::string distance = distances.front();
  std::int64_t noise_iters = 0;
  double noise_std = 0;
  std::string colors = colour_maps.front();
  bool shared_scale = false;

  std::string experiment;    ///< which
  std::vector<Index> sizes;  ///< how many filters are chosen; none: the experiment's own
  double eta = 0;            ///< length of a fine-tuning step; 0: chosen
  std::size_t repeats = 3;   ///< random choices on each sample
  std::vector<double> shares{0.01, 0.02, 0.05, 0.1, 0.15, 0.2};  ///< of all pixels, to be replaced
  std::string boxes;      ///< file of boxes to keep untouched; empty: none
  std::size_t paste = 6;  ///< on how many other images a region is pasted

  std::string explained, neighbors, results;  ///< folders that a report is made of; empty: none

  std::string baseline;
  std::string out;
  std::size_t wrong = 4;

  std::vector<std::string> parts;     ///< files that culprit fit wrote, to be merged
  std::vector<std::string> profiles;  ///< files that culprit profile wrote, or folders of them
  std::string queries = "wrong:5";    ///< whose neighbours, as query_rows() reads it
  std::int64_t k = 10;
  std::string among = amongs.front();
  std::string space = spaces.front();
};

/// Whether each worker takes a batch of its own, so that their number changes no bit of the result; else they
/// share each batch.
[[nodiscard]] inline bool has_batch_for_each_worker(const Options& options) {
  return options.device == "cpu" && (options.command == Command::fit || options.command == Command::profile);
}

/// Runs the chosen command.
/// @throws Error, or what LibTorch and the standard library throw
void run(const Options& options);

/// What an exception has to say, on one line without control characters and without LibTorch's stack trace.
/// To be called while it is handled.
[[nodiscard]] std::string message_of_current_exception();

}  // namespace culprit::cli
