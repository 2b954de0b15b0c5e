// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "culprit/core/fingerprint.hpp"
#include "culprit/io/describe.hpp"
#include "culprit/io/hexadecimal.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/mapped_file.hpp"
#include "culprit/io/safetensors.hpp"

namespace culprit::io {

/// What a run is: names and values, all of which must be the same for it to go on from a checkpoint.
using Job = std::map<std::string, std::string>;

namespace detail {

inline constexpr std::string_view checkpoint_format = "culprit.checkpoint/1";

/// Over all that a checkpoint says, whatever order its tensors are in.
inline std::string checksum(const std::string& job, std::vector<std::pair<std::string, TensorView>> tensors) {
  std::ranges::sort(tensors, {}, [](const auto& tensor) { return tensor.first; });
  std::string text = job;
  for (const auto& [name, tensor] : tensors) {
    text += '\n' + name + ' ' + std::string(name_of(tensor.dtype));
    for (const std::int64_t extent : tensor.shape) text += ' ' + std::to_string(extent);
  }
  std::uint64_t hash = hash_bytes(std::as_bytes(std::span(text)));
  for (const auto& [name, tensor] : tensors) hash = hash_bytes(tensor.data, hash);
  return to_hex(hash);
}

inline Json job_to_json(const Job& job) {
  Json::Object members;
  for (const auto& [name, value] : job) members.emplace_back(name, value);
  return Json::object(std::move(members));
}

}  // namespace detail

/// @param came  what job_to_json gave @param what  is of a job, for the error
/// @throws Error (argument) naming the place and the first difference, Error (format) for what is no job
inline void require_same_job(const Job& job, const Json& came, const std::string& place,
                             const std::string& what) {
  Job other;
  try {
    for (const auto& [name, value] : came.members()) other.emplace(name, value.as_string());
  } catch (const Error& error) {
    throw Error(error.code(), place + ", job", error.expected(), error.came());
  }
  for (const Job* const names : {&job, static_cast<const Job*>(&other)}) {
    for (const auto& each : *names) {
      const auto said = [&each](const Job& run) {
        const auto found = run.find(each.first);
        return found == run.end() ? std::optional<std::string>() : found->second;
      };
      if (said(job) == said(other)) continue;
      const auto text = [](const std::optional<std::string>& value) {
        return value ? in_quotes(*value) : "none";
      };
      throw Error(ErrorCode::argument, place,
                  std::string(what).append(" of ") + each.first + ' ' + text(said(job)), text(said(other)));
    }
  }
}

/// Of a file's bytes, for a job. @throws Error (io) for one that cannot be read
[[nodiscard]] inline std::string hash_of_file(const std::filesystem::path& path) {
  const MappedFile file = MappedFile::open(path);
  return to_hex(hash_bytes(std::as_bytes(std::span(file.text()))));
}

/// Writes what a run has so far, atomically, as safetensors with the job and a checksum as metadata.
/// @throws as write_safetensors
inline void save_checkpoint(const std::filesystem::path& path, const Job& job,
                            std::span<const std::pair<std::string, TensorView>> tensors) {
  const std::string text = dump(detail::job_to_json(job));
  write_safetensors(path, tensors,
                    {{"format", std::string(detail::checkpoint_format)},
                     {"job", text},
                     {"checksum", detail::checksum(text, {tensors.begin(), tensors.end()})}});
}

/// Opens what save_checkpoint wrote for the same job. @returns nothing where there is no file
/// @throws Error (format) for a file that is not as it was written, Error (argument) naming the first
/// difference for one of another job, Error (io) for one that cannot be read.
[[nodiscard]] inline std::optional<Safetensors> load_checkpoint(const std::filesystem::path& path,
                                                                const Job& job) {
  const std::string place = path.string();
  std::error_code failure;
  const bool there = std::filesystem::exists(path, failure);
  if (failure) throw Error(ErrorCode::io, place, "a file, or none", failure.message());
  if (!there) return std::nullopt;
  Safetensors file = Safetensors::open(path);
  const auto text_of = [&](const std::string& key) {
    const auto found = file.metadata().find(key);
    return found == file.metadata().end() ? std::string() : found->second;
  };
  const std::string text = text_of("job");
  std::vector<std::pair<std::string, TensorView>> tensors;
  for (const std::string& name : file.names()) tensors.emplace_back(name, file.at(name));
  if (text_of("format") != detail::checkpoint_format) {
    throw Error(ErrorCode::format, place, "format " + std::string(detail::checkpoint_format),
                in_quotes(text_of("format")));
  }
  if (text_of("checksum") != detail::checksum(text, tensors))
    throw Error(ErrorCode::format, place, "a checkpoint as it was written", "another checksum");
  require_same_job(job, parse_json(text, place), place, "a checkpoint");
  return file;
}

}  // namespace culprit::io
