// SPDX-License-Identifier: MIT
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace culprit {

/// What kind of thing was wrong; the sentence is in Error::what().
enum class ErrorCode {
  argument,  ///< a value or option outside its domain
  io,        ///< the operating system refused to open, read or write
  format,    ///< the bytes of a file are not what its format demands
  shape,     ///< a tensor or matrix of other extents
  dtype,     ///< a tensor of another element type
  model,     ///< a model that cannot be used as it is (mode, parameters, missing names)
  label,     ///< a target outside the classes of the model
  baseline,  ///< a baseline of another model, units or preprocessing
  numeric,   ///< NaN or infinity where a number is needed
  process,   ///< an isolated process that was killed, by its own error or at a limit
};

/// The one exception culprit throws on bad input: where, what was expected, what came.
class Error : public std::runtime_error {
 public:
  /// @param place     the file, layer, tensor, option or byte that is wrong
  /// @param expected  what would have been right
  /// @param came      what was there instead
  Error(ErrorCode code, std::string place, std::string expected, std::string came)
      : std::runtime_error(place + ": expected " + expected + ", came " + came),
        code_(code),
        place_(std::move(place)),
        expected_(std::move(expected)),
        came_(std::move(came)) {}

  [[nodiscard]] ErrorCode code() const noexcept { return code_; }  ///< what kind of thing was wrong
  /// Where: file, layer, tensor, option or byte.
  [[nodiscard]] const std::string& place() const noexcept { return place_; }
  /// What would have been right.
  [[nodiscard]] const std::string& expected() const noexcept { return expected_; }
  [[nodiscard]] const std::string& came() const noexcept { return came_; }  ///< what was there instead

 private:
  ErrorCode code_;
  std::string place_;
  std::string expected_;
  std::string came_;
};

}  // namespace culprit
