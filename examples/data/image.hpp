// SPDX-License-Identifier: MIT
#pragma once

#include <filesystem>
#include <string>
#include <string_view>

#include "culprit/core/error.hpp"
#include "culprit/io/atomic_file.hpp"
#include "culprit/io/describe.hpp"
#include "culprit/io/mapped_file.hpp"
#include "jpeg.hpp"
#include "pixels.hpp"
#include "png.hpp"

namespace culprit::data {

/// Reads a JPEG or PNG, told apart by their first bytes whatever the file is called.
/// @return 1 (grey) or 3 (RGB) channels
/// @throws Error io when the file cannot be read, format when it is neither or is damaged; both name it
inline Image decode_image(const std::filesystem::path& path) {
  const io::MappedFile file = io::MappedFile::open(path);
  if (file.text().starts_with("\xff\xd8\xff")) return decode_jpeg(file.bytes(), path.string());
  if (file.text().starts_with("\x89PNG\r\n\x1a\n")) return decode_png(file.bytes(), path.string());
  throw Error(
      ErrorCode::format, path.string(), R"(a JPEG ("\xff\xd8\xff"...) or PNG ("\x89PNG"...))",
      file.text().empty() ? "an empty file" : "first bytes " + io::in_quotes(file.text().substr(0, 8)));
}

/// Writes a grey or RGB picture as an 8-bit PNG; whatever happens, no half-written file is left.
/// @throws Error shape for other channels, io when the file cannot be written
inline void write_png(const std::filesystem::path& path, const Image& image) {
  const std::string bytes = encode_png(image);
  io::write_atomically(path, [&bytes](std::ostream& out) { out << bytes; });
}

}  // namespace culprit::data
