// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <string>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "culprit/io/checkpoint.hpp"
#include "culprit/io/json.hpp"

// Results that runs with --shard wrote, each of a part of the samples.
namespace culprit::cli {

/// What a result says about the samples it is of.
struct Part {
  std::string file;
  std::map<std::string, std::string> metadata;
  io::Json data;  ///< of the metadata

  std::int64_t first = 0;    ///< place in all chosen samples of the part's first
  std::int64_t samples = 0;  ///< in the part, those left out too
  std::int64_t all = 0;      ///< chosen samples
  std::int64_t right = 0;    ///< samples that the model is right about

  /// @throws Error (format) naming the file for numbers that cannot be
  Part(std::string path, std::map<std::string, std::string> texts)
      : file(std::move(path)), metadata(std::move(texts)) {
    try {
      data = io::parse_json(text("data"), "metadata data");
      first = data.at("first").as_int();
      samples = data.at("samples").as_int();
      all = data.at("chosen").at("samples").as_int();
      right = io::parse_json(text("right"), "metadata right").as_int();
    } catch (const Error& error) {
      throw Error(error.code(), file + ", " + error.place(), error.expected(), error.came());
    }
    const bool possible = first >= 0 && first <= all && samples >= 0 && samples <= all - first &&
                          right >= 0 && right <= samples;
    if (!possible) refuse();
  }

  [[noreturn]] void refuse() const {
    throw Error(ErrorCode::format, file, "numbers of samples that agree with each other",
                "metadata data " + text("data") + " and right " + text("right"));
  }

  [[nodiscard]] const std::string& text(const std::string& key) const {
    const auto found = metadata.find(key);
    if (found == metadata.end())
      throw Error(ErrorCode::format, "metadata " + key, "what culprit wrote", "none");
    return found->second;
  }

  /// What has to be the same in all parts.
  /// @param keys  more of the metadata that have to be
  [[nodiscard]] io::Job whole(const std::vector<std::string>& keys) const {
    io::Job names{{"chosen samples", io::dump(data.at("chosen"))},
                  {"data", io::dump(data.at("fingerprint"))}};
    for (const std::string& key : keys) {
      const auto found = metadata.find(key);
      names.emplace(key, found == metadata.end() ? "none" : found->second);
    }
    return names;
  }

  /// The metadata of the whole, without what depends on the samples' results.
  [[nodiscard]] std::map<std::string, std::string> of_whole() const {
    std::map<std::string, std::string> texts = metadata;
    for (const char* const key : {"right", "accuracy", "skipped"}) texts.erase(key);
    io::Json whole = data;
    whole.set("samples", all);
    whole.set("first", 0);
    texts["data"] = io::dump(whole);
    return texts;
  }
};

/// Puts parts in the samples' order.
/// @param keys  of the metadata, which have to be the same in all
/// @throws Error (baseline) naming the file and the first thing in which it differs from another, or samples
/// that are in no part, or in two
template <class P>
void make_whole(std::vector<P>& parts, const std::vector<std::string>& keys) {
  std::ranges::sort(parts, {}, [](const Part& part) { return std::pair(part.first, part.samples); });
  const io::Job expected = parts.front().whole(keys);
  for (const Part& part : parts) {
    for (const auto& [name, came] : part.whole(keys)) {
      if (came == expected.at(name)) continue;
      throw Error(ErrorCode::baseline, part.file,
                  std::string(name).append(" ") + expected.at(name) + ", as in " + parts.front().file, came);
    }
  }
  const auto missing = [](std::int64_t begin, std::int64_t end) {
    throw Error(ErrorCode::baseline, "parts", "each chosen sample in one of them",
                "none with samples " + std::to_string(begin) + " to " + std::to_string(end - 1));
  };
  std::int64_t end = 0;
  const Part* last = nullptr;  // that has samples
  for (const Part& part : parts) {
    if (part.first > end) missing(end, part.first);
    if (part.samples == 0) continue;
    if (part.first < end) {
      throw Error(ErrorCode::baseline, part.file,
                  "samples from " + std::to_string(end) + " on, behind " + last->file,
                  "sample " + std::to_string(part.first) + " a second time");
    }
    end = part.first + part.samples;
    last = &part;
  }
  if (end < parts.front().all) missing(end, parts.front().all);
}

}  // namespace culprit::cli
