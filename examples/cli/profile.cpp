// SPDX-License-Identifier: MIT
#include "cli/profile.hpp"

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

#include "cli/checkpoints.hpp"
#include "cli/outputs.hpp"
#include "cli/parts.hpp"
#include "cli/progress.hpp"
#include "cli/session.hpp"
#include "cli/summary.hpp"
#include "cli/text.hpp"
#include "culprit/io/baseline_file.hpp"
#include "culprit/io/json.hpp"
#include "culprit/io/safetensors.hpp"
#include "culprit/io/store_folder.hpp"
#include "culprit/tensor.hpp"

namespace culprit::cli {

namespace {

constexpr const char* file_suffix = ".safetensors";

torch::Tensor standardized(const Session& session, const torch::Tensor& profiles, const Baseline& baseline) {
  const RowMatrix raw = to_matrix(profiles);
  std::vector<torch::Tensor> rows;
  for (Eigen::Index i = 0; i < raw.rows(); ++i) {
    rows.push_back(
        as_tensor(session.method().standardize(Profile(session.shared_units(), raw.row(i)), baseline)));
  }
  return torch::stack(rows);
}

/// The samples of the next file of a store.
class Rows {
 public:
  explicit Rows(const Options& options) : options_(options) {}

  [[nodiscard]] Index samples() const { return samples_; }

  /// @param begin  of the batch's samples @param count  of them to take
  void take(const Session& session, const data::Batch& batch, const engine::BatchResult& result,
            const std::optional<Baseline>& baseline, Index begin, Index count) {
    const auto some = [&](const torch::Tensor& all) { return all.narrow(0, begin, count); };
    const torch::Tensor profiles = some(result.profiles), outputs = some(result.outputs),
                        labels = some(batch.labels);
    torch::Tensor kept = finite_samples(profiles);
    if (options_.non_finite == "keep") kept.fill_(true);
    right_ += count_right(outputs, labels);
    samples_ += count;
    const auto put = [&](const std::string& name, const torch::Tensor& values) {
      columns_[name].push_back(values.cpu().index({kept}));
    };
    const auto put_profile = [&](const std::string& name, const torch::Tensor& values) {
      put(name, options_.store_dtype == "bfloat16"  ? values.to(torch::kBFloat16)
                : options_.store_dtype == "float32" ? values.to(torch::kFloat32)
                                                    : values);
    };
    put_profile("profile", profiles);
    if (baseline) put_profile("z", standardized(session, profiles, *baseline));
    put("logits", outputs);
    put("label", labels);
    put("prediction", outputs.argmax(1));
    put("loss", some(result.losses));
    for (Index i = 0; i < count; ++i) {
      if (kept[i].item<bool>())
        paths_.push_back(session.path(batch.indices[static_cast<std::size_t>(begin + i)]));
    }
  }

  /// Writes them, and has none then.
  void write_to(io::StoreFolder& store, std::map<std::string, std::string> metadata) {
    std::vector<torch::Tensor> whole;
    std::vector<std::pair<std::string, io::TensorView>> views;
    for (const char* const name : {"profile", "z", "logits", "label", "prediction", "loss"}) {
      const auto column = columns_.find(name);
      if (column == columns_.end()) continue;
      whole.push_back(torch::cat(column->second));
      views.emplace_back(name, view_of(whole.back()));
    }
    const auto rows = static_cast<Index>(paths_.size());
    if (rows < samples_) metadata["skipped"] = std::to_string(samples_ - rows);
    metadata["right"] = std::to_string(right_);
    metadata["paths"] = io::dump(io::Json::array(std::move(paths_)));
    store.append(samples_, views, metadata);
    columns_.clear();
    paths_.clear();
    samples_ = right_ = 0;
  }

 private:
  const Options& options_;
  std::map<std::string, std::vector<torch::Tensor>> columns_;
  io::Json::Array paths_;
  Index samples_ = 0;
  Index right_ = 0;
};

/// Bytes of a sample's profile in a file.
double row_bytes(const Session& session, const Options& options, bool with_z) {
  const double of_value = options.store_dtype == "bfloat16" ? 2 : options.store_dtype == "float32" ? 4 : 0;
  const double of_profile = options.dtype == "float64" ? 8 : 4, of_z = 8;
  return static_cast<double>(session.units().size()) *
         (of_value > 0 ? of_value * (with_z ? 2 : 1) : of_profile + (with_z ? of_z : 0));
}

/// Samples of a file of a store: whole batches, at most 1,000 samples and 256 MB, but one batch at least.
Index file_samples(const Options& options, double row_bytes) {
  const auto batch = static_cast<Index>(options.batch);
  const Index most = std::clamp<Index>(static_cast<Index>(256e6 / row_bytes), 1, 1000);
  return std::max<Index>(1, most / batch) * batch;
}

/// @throws Error (argument) when that many bytes are more than nine tenths of what is free in the folder
void require_space(const std::filesystem::path& folder, double bytes, std::size_t samples) {
  std::error_code failure;
  const std::filesystem::space_info space = std::filesystem::space(folder, failure);
  const double most = 0.9 * static_cast<double>(space.available);
  if (failure || bytes <= most) return;
  const auto gigabytes = [](double number) { return formatted("%.4g GB", number / 1e9); };
  throw Error(ErrorCode::argument, "profiles of " + std::to_string(samples) + " samples",
              "at most " + gigabytes(most) +
                  ", nine tenths of the free disk space (--store-dtype bfloat16, a smaller "
                  "--limit or --shard help)",
              gigabytes(bytes));
}

/// @throws Error (argument) for more names of samples than one file's header holds
void require_short_paths(const Session& session) {
  constexpr std::size_t most = 90'000'000;
  std::size_t bytes = 0;
  for (const std::size_t sample : session.inputs().indices) bytes += session.path(sample).size() + 3;
  if (bytes > most) {
    throw Error(ErrorCode::argument, "--out", "a folder, for one file's header holds 90 MB of samples' names",
                std::to_string(bytes / 1'000'000) + " MB");
  }
}

/// Writes the rows of files that continue each other as one file.
void join(const std::vector<std::filesystem::path>& files, const std::filesystem::path& out,
          std::map<std::string, std::string> metadata, std::int64_t samples) {
  std::vector<io::Safetensors> parts;
  for (const std::filesystem::path& file : files) parts.push_back(io::Safetensors::open(file));
  io::Json::Array paths;
  std::vector<std::int64_t> counts;
  std::int64_t right = 0;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto of_part = [&](const std::string& key) {
      return io::parse_json(io::detail::metadata_at(parts[i], key, files[i].string()),
                            files[i].string() + ", metadata " + key);
    };
    const io::Json list = of_part("paths");
    counts.push_back(static_cast<std::int64_t>(list.size()));
    paths.insert(paths.end(), list.items().begin(), list.items().end());
    right += of_part("right").as_int();
  }
  const auto rows = static_cast<std::int64_t>(paths.size());
  std::vector<std::pair<std::string, io::TensorPieces>> tensors;
  for (const std::string& name : parts.front().names()) {
    const io::TensorView& first = parts.front().at(name);
    if (first.shape.empty())
      throw Error(ErrorCode::shape, files.front().string() + ", tensor " + name, "rows", "one value");
    io::TensorPieces pieces{first.dtype, first.shape, {}};
    pieces.shape.front() = rows;
    for (std::size_t i = 0; i < parts.size(); ++i) {
      const io::TensorView& part = parts[i].at(name);
      const bool fits = part.dtype == first.dtype && part.shape.size() == first.shape.size() &&
                        part.shape.front() == counts[i] &&
                        std::equal(part.shape.begin() + 1, part.shape.end(), first.shape.begin() + 1);
      if (!fits) {
        throw Error(ErrorCode::shape, files[i].string() + ", tensor " + name,
                    "rows as in " + files.front().string(), io::text_of(part.shape));
      }
      pieces.data.push_back(part.data);
    }
    tensors.emplace_back(name, std::move(pieces));
  }
  const std::int64_t skipped = samples - rows;
  if (skipped > 0) metadata["skipped"] = std::to_string(skipped);
  metadata["right"] = std::to_string(right);
  metadata["paths"] = io::dump(io::Json::array(std::move(paths)));
  io::write_safetensors_in_pieces(out, tensors, metadata);
}

/// What a store or file of profiles says, for the summary.
void print(const Options& options, std::int64_t samples) {
  std::int64_t right = 0, skipped = 0, units = 0;
  const auto add = [&](const std::filesystem::path& path) {
    const io::Safetensors file = io::Safetensors::open(path);
    right += std::stoll(io::detail::metadata_at(file, "right", path.string()));
    const auto left_out = file.metadata().find("skipped");
    if (left_out != file.metadata().end()) skipped += std::stoll(left_out->second);
    units = file.at("profile").shape.at(1);
  };
  if (options.out.ends_with(file_suffix)) {
    add(options.out);
  } else {
    std::ranges::for_each(io::StoreFolder::open(options.out).paths(), add);
  }
  print_row("accuracy", percent(right, samples) + ", " + std::to_string(right) + " right");
  if (skipped > 0) print_row("skipped", std::to_string(skipped) + " with NaN or infinity in their gradients");
  print_row("units", std::to_string(units));
  print_row("written", options.out);
}

/// A file or store that is one part of a whole.
struct ProfilePart : Part {
  std::vector<std::filesystem::path> files;

  static ProfilePart open(const std::string& path) {
    std::vector<std::filesystem::path> files{path};
    if (std::filesystem::is_directory(path)) {
      const io::StoreFolder store = io::StoreFolder::open(path);
      files = store.paths();
      if (store.done() < store.samples() || files.empty()) {
        throw Error(ErrorCode::io, path,
                    std::to_string(store.samples()) + " samples (culprit profile goes on with it)",
                    std::to_string(store.done()));
      }
    }
    return ProfilePart(path, std::move(files));
  }

 private:
  ProfilePart(const std::string& path, std::vector<std::filesystem::path> list)
      : Part(path, io::Safetensors::open(list.front()).metadata()), files(std::move(list)) {
    std::int64_t found = 0;
    for (const std::filesystem::path& name : files) {
      const io::Safetensors rows = io::Safetensors::open(name);
      const auto number = [&](const std::string& key) {
        return io::parse_json(io::detail::metadata_at(rows, key, name.string()),
                              name.string() + ", metadata " + key);
      };
      found += static_cast<std::int64_t>(number("paths").size());
      if (rows.metadata().contains("skipped"))
        found += std::clamp<std::int64_t>(number("skipped").as_int(), 0, samples);
    }
    if (found == samples) return;
    throw Error(ErrorCode::shape, path, std::to_string(samples) + " samples, as its metadata say",
                std::to_string(found));
  }
};

}  // namespace

void profile(const Options& options) {
  const bool one_file = options.out.ends_with(file_suffix);
  if (one_file) {
    check_output_file(options.out);
  } else {
    check_output_folder(options.out);
  }
  const Session session(options);
  std::optional<Baseline> baseline;
  if (!options.baseline.empty()) baseline = session.baseline();
  const std::vector<std::size_t>& samples = session.inputs().indices;
  if (samples.empty()) {
    throw Error(
        ErrorCode::argument, "--shard",
        "at least one of the " + std::to_string(session.inputs().chosen.size()) + " samples in a shard",
        "none");
  }
  auto metadata = session.metadata();  // before the long work: it may be refused
  metadata["units"] = io::dump(io::units_to_json(session.units()));
  metadata["fingerprint"] = io::dump(io::fingerprint_to_json(session.fingerprint()));
  io::Job job = session.job("profile");
  job["store-dtype"] = options.store_dtype;
  if (baseline) {
    metadata["standardization"] = options.standardize;
    job["baseline"] = io::hash_of_file(options.baseline);
  }

  if (baseline) metadata["baseline"] = job["baseline"];
  if (one_file) require_short_paths(session);

  const double bytes = row_bytes(session, options, baseline.has_value());
  const std::string folder = one_file ? options.out + ".parts" : options.out;
  if (options.fresh) io::StoreFolder::remove(folder);
  const auto going_on = [&] {
    try {
      return io::StoreFolder::go_on(folder, job, static_cast<std::int64_t>(samples.size()));
    } catch (const Error& error) {
      throw with_hint(error, error.place());
    }
  };
  io::StoreFolder store = going_on();
  const auto before = static_cast<std::size_t>(store.done());  // by earlier runs
  try {
    require_space(folder,
                  bytes * static_cast<double>(samples.size() - before + (one_file ? samples.size() : 0)),
                  samples.size());
  } catch (const Error&) {
    std::error_code ignored;
    std::filesystem::remove(folder, ignored);  // which an empty one can be
    throw;
  }
  data::Loader loader =
      session.loader({samples.begin() + static_cast<std::ptrdiff_t>(before), samples.end()});
  const Index of_file = file_samples(options, bytes);
  Rows rows(options);
  double seconds = 0;
  {
    Progress progress("profile", samples.size(), before);
    for (const data::Batch& batch : loader) {
      const engine::BatchResult result = session.profile(batch);
      const Index count = batch.labels.size(0);
      for (Index begin = 0; begin < count;) {
        const Index part = std::min(count - begin, of_file - rows.samples());
        rows.take(session, batch, result, baseline, begin, part);
        begin += part;
        if (rows.samples() == of_file) rows.write_to(store, metadata);
      }
      progress.update(static_cast<std::size_t>(store.done() + rows.samples()));
    }
    if (rows.samples() > 0) rows.write_to(store, metadata);
    seconds = progress.seconds();
  }
  if (one_file) {
    join(store.paths(), options.out, metadata, store.samples());
    io::StoreFolder::remove(folder);
  }

  print_speed("profiled", seconds, loader);
  if (before > 0) print_row("went on", "from " + std::to_string(before) + " samples of an earlier run");
  print(options, store.samples());
}

void merge_profiles(const Options& options) {
  std::vector<ProfilePart> parts;
  for (const std::string& part : options.parts) parts.push_back(ProfilePart::open(part));
  make_whole(parts, {"units", "fingerprint", "standardization", "baseline", "dtype", "seed", "batch"});
  std::vector<std::filesystem::path> files;
  for (const ProfilePart& part : parts) files.insert(files.end(), part.files.begin(), part.files.end());
  join(files, options.out, parts.front().of_whole(), parts.front().all);

  print_row("merged",
            std::to_string(parts.front().all) + " samples of " + std::to_string(parts.size()) + " parts");
  print(options, parts.front().all);
}

}  // namespace culprit::cli
