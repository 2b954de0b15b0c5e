// SPDX-License-Identifier: MIT
#pragma once

#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string>

#include <png.h>

#include "pixels.hpp"

namespace culprit::data {

namespace detail {

/// libpng's decoder, with its errors turned into `false` and a message.
/// A long jump may not pass over a destructor, so each member that calls libpng sets its own jump and holds
/// nothing but trivial values; whatever owns memory lives in the caller.
class PngReader {
 public:
  explicit PngReader(std::span<const std::byte> bytes) : left_(bytes) {}
  ~PngReader() { png_destroy_read_struct(&png_, &info_, nullptr); }
  PngReader(const PngReader&) = delete;
  PngReader& operator=(const PngReader&) = delete;

  /// Reads up to the pixels; then width(), height() and packed_bytes() are known.
  [[nodiscard]] bool start() {
    if (setjmp(jump_) != 0) return false;
    png_ = png_create_read_struct(PNG_LIBPNG_VER_STRING, this, fail, ignore_warning);
    if (png_ == nullptr) return false;
    info_ = png_create_info_struct(png_);
    if (info_ == nullptr) return false;
    png_set_user_limits(png_, 0x7fffffff, 0x7fffffff);
    // Texts and profiles would be unpacked, megabytes from each kilobyte, and kept for nobody.
    png_set_keep_unknown_chunks(png_, PNG_HANDLE_CHUNK_NEVER, nullptr, -1);
    png_set_read_fn(png_, this, take);
    png_read_info(png_, info_);
    return true;
  }
  [[nodiscard]] unsigned width() const { return png_get_image_width(png_, info_); }
  [[nodiscard]] unsigned height() const { return png_get_image_height(png_, info_); }
  /// Bytes of a row as the file has it, the filter's byte left out; 0 for more than an address counts.
  [[nodiscard]] std::size_t packed_bytes() const { return png_get_rowbytes(png_, info_); }

  /// Settles the decoded colours, and makes room for a row; then channels() is known.
  [[nodiscard]] bool begin() {
    if (setjmp(jump_) != 0) return false;
    png_set_strip_16(png_);
    png_set_expand(png_);
    png_set_strip_alpha(png_);
    passes_ = png_set_interlace_handling(png_);
    png_read_update_info(png_, info_);
    return true;
  }
  [[nodiscard]] int channels() const { return png_get_channels(png_, info_); }

  /// Decodes all rows to `out`, which holds height x width x channels bytes.
  [[nodiscard]] bool read(std::uint8_t* out) {
    if (setjmp(jump_) != 0) return false;
    const std::size_t pitch = png_get_rowbytes(png_, info_);
    const unsigned rows = height();
    for (int pass = 0; pass < passes_; ++pass)
      for (unsigned y = 0; y < rows; ++y) png_read_row(png_, out + y * pitch, nullptr);
    png_read_end(png_, nullptr);
    return true;
  }

  [[nodiscard]] std::string message() const { return message_.data(); }

 private:
  [[noreturn]] static void fail(png_structp png, png_const_charp text) {
    auto* self = static_cast<PngReader*>(png_get_error_ptr(png));
    std::strncpy(self->message_.data(), text, self->message_.size() - 1);
    std::longjmp(self->jump_, 1);
  }
  static void ignore_warning(png_structp, png_const_charp) {}
  static void take(png_structp png, png_bytep out, std::size_t count) {
    auto* self = static_cast<PngReader*>(png_get_io_ptr(png));
    if (count > self->left_.size()) png_error(png, "premature end of file");
    std::memcpy(out, self->left_.data(), count);
    self->left_ = self->left_.subspan(count);
  }

  std::span<const std::byte> left_;
  std::jmp_buf jump_{};
  std::array<char, 128> message_{};
  png_structp png_ = nullptr;
  png_infop info_ = nullptr;
  int passes_ = 1;
};

/// Bytes of pixels for each byte of a PNG, at most: what deflate makes of the longest matches.
inline constexpr std::uint64_t png_bytes_of_byte = 1032;

}  // namespace detail

/// Decodes a PNG of any colour type and depth. Grey stays 1 channel, palettes become RGB, 16-bit samples keep
/// their high byte (as Pillow does), alpha is dropped without blending, and gamma is left alone.
/// @param place names the file in errors
/// @throws Error format for truncated or damaged data, and for more pixels than so short a file holds: before
/// memory is taken
inline Image decode_png(std::span<const std::byte> bytes, const std::string& place) {
  detail::PngReader reader(bytes);
  if (!reader.start()) throw Error(ErrorCode::format, place, "a whole PNG", reader.message());
  check_pixels(reader.width(), reader.height(), place);
  if (reader.packed_bytes() > detail::png_bytes_of_byte * bytes.size() / reader.height()) {
    throw Error(ErrorCode::format, place,
                "at most " + std::to_string(detail::png_bytes_of_byte) + " bytes of pixels for each of its " +
                    std::to_string(bytes.size()) + " bytes",
                std::to_string(reader.width()) + " x " + std::to_string(reader.height()) + " pixels");
  }
  if (!reader.begin()) throw Error(ErrorCode::format, place, "a whole PNG", reader.message());
  Image image = make_image(reader.width(), reader.height(), reader.channels(), place);
  if (!reader.read(image.pixels.data()))
    throw Error(ErrorCode::format, place, "a whole PNG", reader.message());
  return image;
}

/// The bytes of an 8-bit PNG of a grey or RGB picture, without alpha.
/// @throws Error shape for other channels, or pixels that do not fill the extents
inline std::string encode_png(const Image& image) {
  if ((image.channels != 1 && image.channels != 3) || image.width < 1 || image.height < 1 ||
      image.pixels.size() != image.row_bytes() * static_cast<std::size_t>(image.height)) {
    throw Error(ErrorCode::shape, "picture to encode", "width x height x 1 or 3 samples",
                std::to_string(image.width) + " x " + std::to_string(image.height) + " x " +
                    std::to_string(image.channels) + " with " + std::to_string(image.pixels.size()) +
                    " samples");
  }
  png_image head{};
  head.version = PNG_IMAGE_VERSION;
  head.width = static_cast<png_uint_32>(image.width);
  head.height = static_cast<png_uint_32>(image.height);
  head.format = image.channels == 1 ? PNG_FORMAT_GRAY : PNG_FORMAT_RGB;
  png_alloc_size_t size = PNG_IMAGE_PNG_SIZE_MAX(head);
  std::string bytes(size, '\0');
  if (png_image_write_to_memory(&head, bytes.data(), &size, 0, image.pixels.data(), 0, nullptr) == 0)
    throw Error(ErrorCode::argument, "picture to encode", "one libpng accepts", head.message);
  bytes.resize(size);
  return bytes;
}

}  // namespace culprit::data
