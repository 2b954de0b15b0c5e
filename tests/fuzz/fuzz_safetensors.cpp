// SPDX-License-Identifier: MIT
#include <cstddef>
#include <cstdint>

#include "fuzz/targets.hpp"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  culprit::test::fuzz_safetensors({reinterpret_cast<const char*>(data), size});
  return 0;
}
