// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <culprit/core/error.hpp>
#include <culprit/io/baseline_file.hpp>
#include <culprit/io/checkpoint.hpp>
#include <culprit/io/moments_tensors.hpp>
#include <culprit/io/profile_store.hpp>
#include <culprit/io/store_folder.hpp>

#include "fuzz/memory_file.hpp"
#include "fuzz/promise.hpp"

namespace culprit::test {

inline bool fuzz_units(std::string_view bytes) {
  try {
    const Units units = io::units_from_json(io::parse_json(bytes, "fuzz"));
    Index end = 0;
    for (const Layer& layer : units.layers()) {
      require(layer.first == end && layer.count > 0 && layer.size > 0,
              "units are consecutive, none is empty");
      require(units.unit(layer.first).channel == 0, "a unit is found by its number");
      require(units.layer(layer.name).first == layer.first, "a layer is found by its name");
      end = layer.end();
    }
    require(end == units.size(), "every unit is of a layer");
    const Units again = io::units_from_json(io::units_to_json(units));
    require(units.difference(again).empty(), "what is written reads back as the same");
    return true;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format || error.code() == ErrorCode::argument, "an error's code");
    return false;
  }
}

inline bool fuzz_fingerprint(std::string_view bytes) {
  try {
    const Fingerprint fingerprint = io::detail::fingerprint_from_json(io::parse_json(bytes, "fuzz"));
    const Fingerprint again = io::detail::fingerprint_from_json(io::fingerprint_to_json(fingerprint));
    require(fingerprint.difference(again).empty(), "what is written reads back as the same");
    return true;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format, "an error's code");
    return false;
  }
}

inline bool fuzz_baseline(std::string_view bytes) {
  const MemoryFile file(bytes);
  try {
    const Baseline baseline = io::load_baseline(file.path());
    const Index units = baseline.units().size();
    require(baseline.mean().size() == units && baseline.stddev().size() == units, "a value for each unit");
    require(baseline.count() >= 0 && baseline.skipped() >= 0, "numbers of samples from 0");
    Index dead = 0;
    for (Index unit = 0; unit < units; ++unit) {
      const UnitStatistics statistics = baseline.statistics(unit);
      require(std::isfinite(statistics.mean) && statistics.stddev >= 0.0, "statistics are numbers");
      require(!(statistics.mad < 0.0), "no deviation is negative");
      dead += statistics.stddev <= dead_stddev ? 1 : 0;
    }
    require(static_cast<Index>(baseline.dead().size()) == dead, "dead units are those of no deviation");
    baseline.check(baseline.units(), baseline.fingerprint());
    Baseline both = baseline;
    try {
      both.merge(baseline);
      require(both.count() == 2 * baseline.count(), "parts add up");
    } catch (const Error& error) {
      require(error.code() == ErrorCode::argument, "only numbers of samples can be too many for a merge");
    }
    return true;
  } catch (const Error& error) {
    require(error.place().starts_with(file.path().string()), "an error names its file");
    return false;
  }
}

/// The job that the checkpoints of the corpus are of.
inline const io::Job& fuzz_job() {
  static const io::Job job{{"batch", "64"}, {"model", "net"}};
  return job;
}

inline bool fuzz_checkpoint(std::string_view bytes) {
  const MemoryFile file(bytes);
  try {
    const auto checkpoint = io::load_checkpoint(file.path(), fuzz_job());
    require(checkpoint.has_value(), "a file that is there is read");
    for (const std::string& name : checkpoint->names()) (void)sum_of(checkpoint->at(name).data);
    return true;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format || error.code() == ErrorCode::argument, "an error's code");
    require(error.place().starts_with(file.path().string()), "an error names its file");
    return false;
  }
}

/// The index of a store, which tells names and numbers of files.
inline bool fuzz_index(std::string_view bytes) {
  try {
    const io::StoreFolder store = io::StoreFolder::parse("fuzz", bytes);
    require(store.done() >= 0 && store.done() <= store.samples(), "no more samples are done than there are");
    for (const std::filesystem::path& path : store.paths())
      require(path.parent_path() == "fuzz", "no file is outside the folder");
    return true;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format && error.place().starts_with("fuzz/index.json"),
            "an error names its file");
    return false;
  }
}

/// The sums of a part's batches, of two units.
inline bool fuzz_moments(std::string_view bytes) {
  const MemoryFile file(bytes);
  const std::string place = file.path().string();
  try {
    const MomentsTree tree = io::read_moments(io::Safetensors::open(file.path()), 2, place);
    Index end = 0;
    for (const MomentsTree::Node& node : tree.nodes()) {
      require(node.first >= end && node.end() > node.first, "nodes ascend and do not overlap");
      require(node.moments.units() == 2, "a sum for each unit");
      end = node.end();
    }
    require(tree.count() >= 0 && tree.total().count() == tree.count(), "nodes add up");
    return true;
  } catch (const Error&) {
    return false;
  }
}

/// A file of profiles, by either of its tensors.
inline bool fuzz_store(std::string_view bytes) {
  const MemoryFile file(bytes);
  const std::array files{file.path()};
  bool accepted = false;
  for (const std::string_view tensor : {"z", "profile"}) {
    try {
      const io::ProfileStore store = io::ProfileStore::open(files, tensor);
      const Index rows = store.size();
      require(store.rows().size() == rows && static_cast<Index>(store.predictions().size()) == rows &&
                  static_cast<Index>(store.paths().size()) == rows,
              "everything has as many rows");
      require(static_cast<Index>(store.wrong().size()) <= rows, "no more rows are wrong than there are");
      const std::array all{UnitRange{0, store.units().size()}};
      for (Index row = 0; row < rows; ++row) {
        require(store.rows().values(row, all).size() == store.units().size(), "a number for each unit");
        try {
          const double confidence = store.confidence(row);
          require(confidence >= 0.0 && confidence <= 1.0, "a confidence is a probability");
        } catch (const Error& error) {
          require(error.code() == ErrorCode::numeric, "only logits that are not finite have no confidence");
        }
      }
      accepted = true;
    } catch (const Error& error) {
      require(error.place().starts_with(file.path().string()), "an error names its file");
    }
  }
  return accepted;
}

}  // namespace culprit::test
