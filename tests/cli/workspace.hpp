// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <sys/wait.h>
#include <vector>

#include "culprit/io/safetensors.hpp"
#include "data/image.hpp"
#include "data/pixels.hpp"
#include "support/catch.hpp"
#include "support/temporary_folder.hpp"

namespace culprit::test {

/// What one call of the program did.
struct Run {
  int status = -1;
  std::string out;
  std::string err;
};

using Arguments = std::vector<std::string>;

/// The arguments with options set to other values, or added: {"--limit", "3"} sets one; an empty value
/// removes it.
inline Arguments with(Arguments arguments, const Arguments& changes) {
  for (std::size_t i = 0; i < changes.size(); i += 2) {
    const auto found = std::find(arguments.begin(), arguments.end(), changes[i]);
    if (found != arguments.end()) arguments.erase(found, found + 2);
    if (!changes[i + 1].empty()) arguments.insert(arguments.end(), {changes[i], changes[i + 1]});
  }
  return arguments;
}

/// A folder with a small data set and the demo's weights, in which the program runs.
class Workspace {
 public:
  static constexpr std::size_t samples = 12;
  static constexpr int side = 28;

  Workspace() {
    std::filesystem::copy(weights_file(), folder_ / "weights.safetensors");
    std::filesystem::create_directory(folder_ / "digits");
    std::mt19937 random(seed());
    std::string images("\0\0\x08\x03\0\0\0\x0c\0\0\0\x1c\0\0\0\x1c", 16);
    for (std::size_t i = 0; i < samples * side * side; ++i) images += static_cast<char>(random() & 0xffU);
    std::string labels("\0\0\x08\x01\0\0\0\x0c", 8);
    for (std::size_t i = 0; i < samples; ++i) labels += static_cast<char>(label(i));
    write_bytes(folder_ / "digits/t10k-images-idx3-ubyte", images);
    write_bytes(folder_ / "digits/t10k-labels-idx1-ubyte", labels);
  }

  static std::int64_t label(std::size_t sample) { return static_cast<std::int64_t>(7 * sample % 10); }
  static std::filesystem::path weights_file() {
    return std::filesystem::path(CULPRIT_SOURCE_DIR) / "examples/weights/resnet8_fashion.safetensors";
  }

  [[nodiscard]] std::filesystem::path operator/(std::string_view name) const { return folder_ / name; }

  /// What every command needs; fit's output is b.safetensors.
  [[nodiscard]] static Arguments fit() {
    return {"fit",     "--model",    "resnet8_fashion:weights.safetensors",
            "--data",  "idx:digits", "--preset",
            "fashion", "--out",      "b.safetensors"};
  }
  [[nodiscard]] static Arguments profile() {
    Arguments arguments = with(fit(), {"--out", "p.safetensors"});
    arguments.front() = "profile";
    return arguments;
  }
  [[nodiscard]] static Arguments explain() {
    Arguments arguments = with(fit(), {"--out", "report", "--baseline", "b.safetensors"});
    arguments.front() = "explain";
    return arguments;
  }

  [[nodiscard]] static Arguments mask() {
    Arguments arguments = with(explain(), {"--out", "results"});
    arguments.front() = "experiment";
    arguments.insert(arguments.begin() + 1, "mask");
    return arguments;
  }

  /// Of what profile() with a baseline wrote.
  [[nodiscard]] static Arguments neighbors() {
    return {"neighbors", "--profiles", "p.safetensors", "--out", "near"};
  }

  /// What runs the program on one thread, for a shell. @param before  what starts it, such as timeout
  [[nodiscard]] static std::string command(const Arguments& arguments, const std::string& before = {}) {
    std::string command = "OMP_NUM_THREADS=1 " + before + ' ' + quoted(CULPRIT_PROGRAM);
    for (const std::string& argument : arguments) command += ' ' + quoted(argument);
    return command;
  }

  /// Runs the program in the folder.
  [[nodiscard]] Run run(const Arguments& arguments, const std::string& before = {}) const {
    return shell(command(arguments, before));
  }

  /// Runs a shell's command in the folder.
  [[nodiscard]] Run shell(const std::string& command) const {
    const TemporaryFolder told;
    const std::string line = "cd " + quoted((folder_ / "").string()) + " && { " + command + "; } >" +
                             quoted((told / "out").string()) + " 2>" + quoted((told / "err").string());
    const int status = std::system(line.c_str());
    return {WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status), read_bytes(told / "out"),
            read_bytes(told / "err")};
  }

  /// Writes the TorchScript files of script_models.py; false, and said, where Python cannot.
  [[nodiscard]] bool write_script_models() const {
    const std::string python = "OMP_NUM_THREADS=1 " + quoted(CULPRIT_PYTHON);
    if (std::system((python + " -c 'import torch' 2>/dev/null").c_str()) != 0) {
      std::cout << "SKIPPED: needs the Python package torch\n";
      return false;
    }
    const std::string script = CULPRIT_SOURCE_DIR "/tests/cli/script_models.py";
    const std::string command =
        python + ' ' + quoted(script) + ' ' + quoted((folder_ / "").string()) + " 2>/dev/null";
    REQUIRE(std::system(command.c_str()) == 0);
    return true;
  }

  /// Every file and folder, relative and sorted.
  [[nodiscard]] std::vector<std::string> listing() const {
    std::vector<std::string> names;
    for (const auto& entry : std::filesystem::recursive_directory_iterator(folder_.path())) {
      names.push_back(entry.path().lexically_relative(folder_.path()).string());
    }
    std::sort(names.begin(), names.end());
    return names;
  }

  /// A picture with these samples at (x, y, channel), as PNG.
  void write_picture(std::string_view name, int width, int height, int channels) const {
    data::Image image = data::make_image(static_cast<std::uint64_t>(width),
                                         static_cast<std::uint64_t>(height), channels, "test");
    for (std::size_t i = 0; i < image.pixels.size(); ++i)
      image.pixels[i] = static_cast<std::uint8_t>(37 * i + i / 9);
    std::filesystem::create_directories((folder_ / name).parent_path());
    data::write_png(folder_ / name, image);
  }

  static std::string quoted(const std::string& text) {
    std::string result = "'";
    for (const char symbol : text) result += symbol == '\'' ? "'\\''" : std::string(1, symbol);
    return result + "'";
  }

 private:
  TemporaryFolder folder_;
};

/// Runs the program, which must succeed.
inline Run succeed(const Workspace& workspace, const Arguments& arguments) {
  const Run run = workspace.run(arguments);
  INFO(run.err);
  REQUIRE(run.status == 0);
  return run;
}

/// The fields of a CSV file without quotes.
inline std::vector<std::vector<std::string>> read_csv(const std::filesystem::path& path) {
  std::vector<std::vector<std::string>> rows;
  std::istringstream lines(read_bytes(path));
  for (std::string line; std::getline(lines, line);) {
    std::vector<std::string>& row = rows.emplace_back();
    std::istringstream fields(line);
    for (std::string field; std::getline(fields, field, ',');) row.push_back(field);
  }
  return rows;
}

}  // namespace culprit::test
