// SPDX-License-Identifier: MIT
#pragma once

#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <culprit/core/error.hpp>
#include <culprit/io/json.hpp>
#include <culprit/io/npy.hpp>
#include <culprit/io/safetensors.hpp>

#include "fuzz/promise.hpp"

namespace culprit::test {

inline bool fuzz_json(std::string_view bytes) {
  try {
    const io::Json json = io::parse_json(bytes, "fuzz");
    const std::string text = io::dump(json);
    const io::Json again = io::parse_json(text, "dump");
    require(io::dump(again) == text, "what dump writes reads back as the same text");
    require(io::dump(io::parse_json(io::dump(json, 2), "indented")) == text, "indenting changes nothing");
    return true;
  } catch (const Error& error) {
    require(error.place().starts_with("fuzz, byte "),
            "an error of the reader names its place, and dump's text is read");
    return false;
  }
}

inline bool fuzz_safetensors(std::string_view bytes) {
  const std::string place = "fuzz";
  try {
    const io::detail::SafetensorsHeader header{bytes, place};
    std::size_t data = 0;
    unsigned sum = 0;
    for (const auto& entry : header.entries) {
      const auto& tensor = entry.tensor;
      require(io::detail::byte_count(tensor.dtype, tensor.shape) == tensor.data.size(),
              "the shape fits the data");
      data += tensor.data.size();
      sum += sum_of(tensor.data);
    }
    require(data <= bytes.size(), "tensors do not overlap");
    require(sum == sum_of(std::as_bytes(std::span{bytes.substr(bytes.size() - data)})),
            "the data ends the file");
    require(header.by_name.size() == header.entries.size(), "every tensor is found by name");
    for (std::size_t i = 1; i < header.by_name.size(); ++i) {
      require(header.entries[header.by_name[i - 1]].name < header.entries[header.by_name[i]].name,
              "names are sorted and differ");
    }
    return true;
  } catch (const Error& error) {
    require(error.code() == ErrorCode::format && error.place().starts_with("fuzz, byte "),
            "an error names its place");
    return false;
  }
}

inline bool fuzz_npy(std::string_view bytes) {
  try {
    const io::NpyArray array = io::parse_npy(bytes, "fuzz");
    require(io::detail::byte_count(array.dtype, array.shape) == array.data.size(), "the shape fits the data");
    require(array.data.size() < bytes.size(), "nothing is allocated that the file does not hold");
    require(sum_of(array.data) ==
                sum_of(std::as_bytes(std::span{bytes.substr(bytes.size() - array.data.size())})),
            "the data ends the file");
    return true;
  } catch (const Error& error) {
    require(error.place().starts_with("fuzz, byte "), "an error names its place");
    return false;
  }
}

}  // namespace culprit::test
