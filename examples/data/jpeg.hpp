// SPDX-License-Identifier: MIT
#pragma once

#include <algorithm>
#include <array>
#include <csetjmp>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>

#include <jpeglib.h>

#include "pixels.hpp"

namespace culprit::data {

namespace detail {

/// libjpeg's decompressor, with its fatal errors and its warnings turned into `false` and a message.
/// A long jump may not pass over a destructor, so each member that calls libjpeg sets its own jump and holds
/// nothing but trivial values; whatever owns memory lives in the caller.
class JpegReader {
 public:
  explicit JpegReader(std::span<const std::byte> bytes) : bytes_(bytes) {
    state_.err = jpeg_std_error(&errors_.base);
    errors_.base.error_exit = fail;
    errors_.base.emit_message = fail_on_warning;
    errors_.progress.progress_monitor = fail_on_scan;
  }
  ~JpegReader() {
    if (created_) jpeg_destroy_decompress(&state_);
  }
  JpegReader(const JpegReader&) = delete;
  JpegReader& operator=(const JpegReader&) = delete;

  /// Reads up to the first scan and settles the decoded colours; then width() to channels() are known.
  [[nodiscard]] bool start() {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_create_decompress(&state_);
    created_ = true;
    state_.progress = &errors_.progress;
    jpeg_mem_src(&state_, reinterpret_cast<const unsigned char*>(bytes_.data()),
                 static_cast<unsigned long>(bytes_.size()));
    jpeg_read_header(&state_, TRUE);
    switch (state_.jpeg_color_space) {
      case JCS_GRAYSCALE:
        state_.out_color_space = JCS_GRAYSCALE;
        break;
      case JCS_CMYK:
      case JCS_YCCK:
        state_.out_color_space = JCS_CMYK;
        break;
      default:
        state_.out_color_space = JCS_RGB;
    }
    return true;
  }
  [[nodiscard]] unsigned width() const { return state_.image_width; }
  [[nodiscard]] unsigned height() const { return state_.image_height; }
  /// The sides in whole blocks of the component that is sampled most, which is what libjpeg keeps in memory.
  [[nodiscard]] std::uint64_t stored_width() const { return whole(width(), state_.max_h_samp_factor); }
  [[nodiscard]] std::uint64_t stored_height() const { return whole(height(), state_.max_v_samp_factor); }
  /// Interleaved samples of a pixel: 1 grey, 3 RGB, 4 CMYK.
  [[nodiscard]] int channels() const {
    return state_.out_color_space == JCS_GRAYSCALE ? 1 : state_.out_color_space == JCS_CMYK ? 4 : 3;
  }

  /// Decodes all rows to `out`, which holds height x width x channels bytes.
  [[nodiscard]] bool read(std::uint8_t* out) {
    if (setjmp(errors_.jump) != 0) return false;
    jpeg_start_decompress(&state_);
    while (state_.output_scanline < state_.output_height) {
      JSAMPROW row = out + std::size_t{state_.output_scanline} * state_.output_width *
                               static_cast<std::size_t>(state_.output_components);
      jpeg_read_scanlines(&state_, &row, 1);
    }
    jpeg_finish_decompress(&state_);
    return true;
  }

  [[nodiscard]] std::string message() const { return errors_.message.data(); }

 private:
  struct Errors {
    jpeg_error_mgr base;  // first, so that libjpeg's pointer to it is a pointer to the whole
    std::jmp_buf jump;
    std::array<char, JMSG_LENGTH_MAX> message;
    jpeg_progress_mgr progress;
  };

  static std::uint64_t whole(std::uint64_t side, int sampling) {
    const std::uint64_t block = DCTSIZE * static_cast<std::uint64_t>(sampling);
    return (side + block - 1) / block * block;
  }

  [[noreturn]] static void fail(j_common_ptr state) {
    auto* errors = reinterpret_cast<Errors*>(state->err);
    state->err->format_message(state, errors->message.data());
    std::longjmp(errors->jump, 1);
  }
  // libjpeg fills what a damaged file lacks with grey and only warns (level -1): that is no picture to judge
  // by.
  static void fail_on_warning(j_common_ptr state, int level) {
    if (level < 0) fail(state);
  }
  // Each scan goes over the whole picture, and takes a hostile file but some bytes. Encoders write about ten.
  static void fail_on_scan(j_common_ptr state) {
    constexpr int most_scans = 100;
    if (reinterpret_cast<j_decompress_ptr>(state)->input_scan_number <= most_scans) return;
    auto* errors = reinterpret_cast<Errors*>(state->err);
    std::snprintf(errors->message.data(), errors->message.size(), "more than %d scans", most_scans);
    std::longjmp(errors->jump, 1);
  }

  std::span<const std::byte> bytes_;
  jpeg_decompress_struct state_{};
  Errors errors_{};
  bool created_ = false;
};

/// Inverted CMYK (as every program since Photoshop writes it) to RGB: channel = (1 - ink) (1 - black), with
/// the rounding of Pillow's convert("RGB").
inline Image rgb_of_inverted_cmyk(const Image& cmyk, const std::string& place) {
  Image rgb =
      make_image(static_cast<std::uint64_t>(cmyk.width), static_cast<std::uint64_t>(cmyk.height), 3, place);
  const std::size_t count = rgb.pixels.size() / 3;
  for (std::size_t pixel = 0; pixel < count; ++pixel) {
    const int light = cmyk.pixels[4 * pixel + 3];
    for (std::size_t channel = 0; channel < 3; ++channel) {
      const int product = (255 - cmyk.pixels[4 * pixel + channel]) * light + 128;
      const int ink = ((product >> 8) + product) >> 8;
      rgb.pixels[3 * pixel + channel] = static_cast<std::uint8_t>(std::clamp(light - ink, 0, 255));
    }
  }
  return rgb;
}

/// The pixels of a picture for each byte of its file, at most: Huffman codes take a bit or more for each
/// block of 8 x 8 pixels. (An arithmetic code may take less for a picture of one colour, which is refused.)
inline constexpr std::uint64_t jpeg_pixels_of_byte = 8 * 8 * 8;

}  // namespace detail

/// Decodes a JPEG with libjpeg-turbo's defaults (slow integer DCT, fancy upsampling), the same pixels as
/// Pillow's. Grey stays 1 channel, CMYK and YCCK become RGB; an EXIF orientation is not applied.
/// @param place names the file in errors
/// @throws Error format for truncated or damaged data, a warning of libjpeg included, and for more pixels
/// than so short a file holds or more scans than pictures have: before memory is taken, or time
inline Image decode_jpeg(std::span<const std::byte> bytes, const std::string& place) {
  detail::JpegReader reader(bytes);
  if (!reader.start()) throw Error(ErrorCode::format, place, "a whole JPEG", reader.message());
  check_pixels(reader.width(), reader.height(), place);
  if (reader.stored_width() * reader.stored_height() > detail::jpeg_pixels_of_byte * bytes.size()) {
    throw Error(ErrorCode::format, place,
                "at most " + std::to_string(detail::jpeg_pixels_of_byte) + " pixels for each of its " +
                    std::to_string(bytes.size()) + " bytes",
                std::to_string(reader.stored_width()) + " x " + std::to_string(reader.stored_height()));
  }
  Image image = make_image(reader.width(), reader.height(), reader.channels(), place);
  if (!reader.read(image.pixels.data()))
    throw Error(ErrorCode::format, place, "a whole JPEG", reader.message());
  return image.channels == 4 ? detail::rgb_of_inverted_cmyk(image, place) : image;
}

}  // namespace culprit::data
