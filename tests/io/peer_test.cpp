// SPDX-License-Identifier: MIT
#include <cstdlib>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include <culprit/io/npy.hpp>
#include <culprit/io/safetensors.hpp>

#include "support/catch.hpp"

// Hidden: python_roundtrip.py, which makes the files and compares the copies, runs it by name.
TEST_CASE("files of a folder are copied by way of the readers and writers", "[.][io]") {
  const char* const name = std::getenv("CULPRIT_ROUNDTRIP_FOLDER");
  REQUIRE(name != nullptr);
  const std::filesystem::path folder{name};
  int copied = 0;
  for (const auto& entry : std::filesystem::directory_iterator{folder / "theirs"}) {
    const auto copy = folder / "ours" / entry.path().filename();
    if (entry.path().extension() == ".npy") {
      culprit::io::write_npy(copy, culprit::io::read_npy(entry.path()).view());
    } else {
      const auto file = culprit::io::Safetensors::open(entry.path());
      std::vector<std::pair<std::string, culprit::io::TensorView>> tensors;
      for (const std::string& tensor : file.names()) tensors.emplace_back(tensor, file.at(tensor));
      culprit::io::write_safetensors(copy, tensors, file.metadata());
    }
    ++copied;
  }
  CHECK(copied > 0);
}
