// SPDX-License-Identifier: MIT
#pragma once

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <fcntl.h>
#include <filesystem>
#include <map>
#include <memory>
#include <ostream>
#include <span>
#include <string>
#include <string_view>
#include <sys/file.h>
#include <system_error>
#include <utility>
#include <vector>

#include "culprit/core/error.hpp"
#include "culprit/core/fingerprint.hpp"
#include "culprit/io/atomic_file.hpp"
#include "culprit/io/checkpoint.hpp"
#include "culprit/io/describe.hpp"
#include "culprit/io/hexadecimal.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/mapped_file.hpp"
#include "culprit/io/safetensors.hpp"

namespace culprit::io {

/// A store of samples' tensors in a folder: safetensors files that continue each other, and `index.json`,
/// which lists those that are whole. It grows by a file at a time, each written atomically and then listed,
/// atomically too, so that whatever ends a run leaves a store that the same job goes on with.
///
/// index.json: `format`, `job` (names and texts), `samples` (of the whole job), and `files`, each with `name`
/// (the number of its first sample and .safetensors), `samples` (it stands for; some of them may have no
/// row), `bytes` and `checksum` (hash_bytes, hexadecimal); and a `checksum` over all this. Move-only.
class StoreFolder {
 public:
  /// An entry of `files`.
  struct File {
    std::int64_t first;    ///< number of its first sample among those of the job, from 0
    std::int64_t samples;  ///< that it stands for
    std::uintmax_t bytes;  ///< size of the file
    std::string checksum;  ///< hash_bytes of the file, hexadecimal

    /// Twelve digits of `first`, so that names sort as samples do, and .safetensors.
    [[nodiscard]] std::string name() const {
      std::string digits = std::to_string(first);
      return std::string(digits.size() < 12 ? 12 - digits.size() : 0, '0').append(digits) + ".safetensors";
    }
  };

  /// Where a folder has its index.
  [[nodiscard]] static std::filesystem::path index_of(const std::filesystem::path& folder) {
    return folder / "index.json";
  }

  /// Goes on with the folder's store, or begins one where there is none.
  /// @param job      what must be the same to go on @param samples  of the whole job
  /// @throws Error (argument) naming the first difference for a store of another job, or for a folder with
  /// other files in it; Error (format) naming the file for one that is not as it was written; Error (io)
  [[nodiscard]] static StoreFolder go_on(const std::filesystem::path& folder, const Job& job,
                                         std::int64_t samples) {
    std::error_code failure;
    std::filesystem::create_directories(folder, failure);
    if (failure) throw Error(ErrorCode::io, folder.string(), "a folder that can be made", failure.message());
    auto lock = locked(folder);
    for (const auto& entry : std::filesystem::directory_iterator(folder)) {
      if (is_temporary(entry.path())) std::filesystem::remove(entry.path(), failure);  // of a killed process
    }
    const bool begun = std::filesystem::exists(index_of(folder), failure);
    if (failure) throw Error(ErrorCode::io, index_of(folder).string(), "a file, or none", failure.message());
    if (!begun) {
      for (const auto& entry : std::filesystem::directory_iterator(folder)) {
        if (is_own(entry.path())) continue;  // of a run that ended before its first line in an index
        throw Error(ErrorCode::argument, folder.string(), "an empty folder, or a store of profiles",
                    "a folder with " + in_quotes(entry.path().filename().string()));
      }
      StoreFolder store(folder);
      store.job_ = detail::job_to_json(job);
      store.samples_ = samples;
      store.lock_ = std::move(lock);
      return store;
    }
    StoreFolder store = open(folder);
    store.lock_ = std::move(lock);
    require_same_job(job, store.job_, index_of(folder).string(), "a store");
    if (store.samples_ != samples) {
      throw Error(ErrorCode::format, index_of(folder).string(), std::to_string(samples) + " samples",
                  std::to_string(store.samples_));
    }
    for (const File& file : store.files_) {
      if (hash_of_file(folder / file.name()) != file.checksum) {
        throw Error(ErrorCode::format, (folder / file.name()).string(), "the file as it was written",
                    "another checksum");
      }
    }
    return store;
  }

  /// What an index says of a folder. @throws Error (format) naming the index and what is wrong in it
  [[nodiscard]] static StoreFolder parse(const std::filesystem::path& folder, std::string_view text) {
    const std::string index = index_of(folder).string();
    StoreFolder store(folder);
    try {
      store.read(parse_json(text, index));
    } catch (const Error& error) {
      if (error.place().starts_with(index)) throw;
      throw Error(error.code(), index + ", " + error.place(), error.expected(), error.came());
    }
    return store;
  }

  /// The folder's store. @throws Error (format, io) naming the index, or the file that is not as it says
  [[nodiscard]] static StoreFolder open(const std::filesystem::path& folder) {
    const std::filesystem::path index = index_of(folder);
    const MappedFile text = MappedFile::open(index);
    StoreFolder store = parse(folder, text.text());
    for (const File& file : store.files_) {
      const std::filesystem::path path = folder / file.name();
      std::error_code failure;
      const auto bytes = std::filesystem::file_size(path, failure);
      if (failure || bytes != file.bytes) {
        throw Error(failure ? ErrorCode::io : ErrorCode::format, path.string(),
                    std::to_string(file.bytes) + " bytes, as " + index.string() + " says",
                    failure ? failure.message() : std::to_string(bytes));
      }
    }
    return store;
  }

  /// Removes a store, and nothing that is not of one.
  static void remove(const std::filesystem::path& folder) {
    std::error_code failure;
    if (!std::filesystem::is_directory(folder, failure)) return;
    if (has_own_index(folder)) std::filesystem::remove(index_of(folder), failure);
    std::vector<std::filesystem::path> own;
    for (auto entry = std::filesystem::directory_iterator(folder, failure);
         !failure && entry != std::filesystem::directory_iterator(); entry.increment(failure)) {
      if (is_own(entry->path())) own.push_back(entry->path());
    }
    for (const std::filesystem::path& path : own) std::filesystem::remove(path, failure);
    std::filesystem::remove(folder, failure);  // which refuses where something is left
  }

  /// Samples of the whole job, and those of them that files stand for.
  [[nodiscard]] std::int64_t samples() const noexcept { return samples_; }
  /// Samples that the files stand for: the first so many of the job.
  [[nodiscard]] std::int64_t done() const noexcept {
    return files_.empty() ? 0 : files_.back().first + files_.back().samples;
  }
  /// The files, in the order of their samples.
  [[nodiscard]] std::vector<std::filesystem::path> paths() const {
    std::vector<std::filesystem::path> paths;
    for (const File& file : files_) paths.push_back(folder_ / file.name());
    return paths;
  }

  /// Writes the file of the next samples. @throws as write_safetensors
  void append(std::int64_t samples, std::span<const std::pair<std::string, TensorView>> tensors,
              const std::map<std::string, std::string>& metadata) {
    File file{.first = done(), .samples = samples, .bytes = 0, .checksum = {}};
    const std::filesystem::path path = folder_ / file.name();
    write_safetensors(path, tensors, metadata);
    file.bytes = std::filesystem::file_size(path);
    file.checksum = hash_of_file(path);
    files_.push_back(std::move(file));
    Json index = to_json();
    index.set("checksum", checksum());
    const std::string text = dump(index, 2) + '\n';
    write_atomically(index_of(folder_), [&text](std::ostream& out) { out << text; });
  }

 private:
  static constexpr const char* format = "culprit.store/1";

  explicit StoreFolder(std::filesystem::path folder) : folder_(std::move(folder)) {}

  /// By its name: a file of numbers, or one that a killed process left.
  static bool is_own(const std::filesystem::path& path) {
    const bool numbered = path.extension() == ".safetensors" && path.stem().string().size() >= 12 &&
                          path.stem().string().find_first_not_of("0123456789") == std::string::npos;
    return numbered || is_temporary(path);
  }
  static bool is_temporary(const std::filesystem::path& path) {
    const std::string name = path.filename().string();
    return name.starts_with(".culprit-") && name.ends_with(".tmp");
  }

  /// Keeps other processes out for as long as it lives, where the file system can.
  static std::unique_ptr<detail::Descriptor> locked(const std::filesystem::path& folder) {
    auto lock =
        std::make_unique<detail::Descriptor>(::open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (::flock(lock->value(), LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK)
      throw Error(ErrorCode::io, folder.string(), "a store that no other process writes",
                  "one that writes it");
    return lock;
  }

  /// Whether the index, damaged or not, is one of a store.
  static bool has_own_index(const std::filesystem::path& folder) {
    try {
      return MappedFile::open(index_of(folder)).text().find("\"culprit.store/") != std::string_view::npos;
    } catch (const Error&) {
      return false;
    }
  }

  /// Over all that the index says.
  [[nodiscard]] std::string checksum() const {
    const std::string text = dump(to_json());
    return to_hex(hash_bytes(std::as_bytes(std::span(text))));
  }

  [[nodiscard]] Json to_json() const {
    Json::Array files;
    for (const File& file : files_) {
      files.push_back(Json::object({{"name", file.name()},
                                    {"samples", file.samples},
                                    {"bytes", static_cast<std::int64_t>(file.bytes)},
                                    {"checksum", file.checksum}}));
    }
    return Json::object(
        {{"format", format}, {"job", job_}, {"samples", samples_}, {"files", Json::array(std::move(files))}});
  }

  void read(const Json& json) {
    if (json.at("format").as_string() != format)
      throw Error(ErrorCode::format, "format", format, in_quotes(json.at("format").as_string()));
    job_ = json.at("job");
    samples_ = json.at("samples").as_int();
    for (const Json& entry : json.at("files").items()) {
      const std::int64_t samples = entry.at("samples").as_int(), bytes = entry.at("bytes").as_int();
      if (samples < 1 || samples > samples_ - done() || bytes < 0) {
        throw Error(ErrorCode::format, "files",
                    "at most " + std::to_string(samples_ - done()) + " samples more",
                    std::to_string(samples) + " in " + std::to_string(bytes) + " bytes");
      }
      files_.push_back({.first = done(),
                        .samples = samples,
                        .bytes = static_cast<std::uintmax_t>(bytes),
                        .checksum = entry.at("checksum").as_string()});
      // Only this name, so that no index leads out of its folder.
      if (entry.at("name").as_string() != files_.back().name()) {
        throw Error(ErrorCode::format, "files", in_quotes(files_.back().name()),
                    in_quotes(entry.at("name").as_string()));
      }
    }
    if (json.at("checksum").as_string() != checksum())
      throw Error(ErrorCode::format, "checksum", "the index as it was written", "another checksum");
  }

  std::filesystem::path folder_;
  Json job_;
  std::int64_t samples_ = 0;
  std::vector<File> files_;
  std::unique_ptr<detail::Descriptor> lock_;
};

}  // namespace culprit::io
