// SPDX-License-Identifier: MIT
//
// A fuzzer of one reader, CULPRIT_FUZZ_TARGET of the header CULPRIT_FUZZ_HEADER, which counts the memory that
// the reader takes.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <string>

#include <sanitizer/allocator_interface.h>

#include CULPRIT_FUZZ_HEADER

namespace {

/// Bytes that are allocated, by C++ and by the libraries in C, and the most that were since the last reset.
class Memory {
 public:
  static void reset() { most_ = live_.load(); }
  static std::int64_t live() { return live_; }
  static std::int64_t most() { return most_; }

  static void take(const volatile void* /*address*/, std::size_t size) {
    live_ += static_cast<std::int64_t>(size);
    if (live_ > most_) most_ = live_.load();
  }
  static void give(const volatile void* address) {
    if (address != nullptr)
      live_ -= static_cast<std::int64_t>(__sanitizer_get_allocated_size(const_cast<void*>(address)));
  }

 private:
  inline static std::atomic<std::int64_t> live_{0}, most_{0};
};

}  // namespace

extern "C" int LLVMFuzzerInitialize(int* /*count*/, char*** /*arguments*/) {
  if (__sanitizer_install_malloc_and_free_hooks(Memory::take, Memory::give) == 0)
    throw std::runtime_error("no room for the hooks that count memory");
  return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  // Twice the file and a megabyte; what a picture or compressed data unpack to comes on top.
  constexpr std::int64_t room = std::int64_t{1} << 20U;
  const std::int64_t before = Memory::live();
  Memory::reset();
  culprit::test::CULPRIT_FUZZ_TARGET({reinterpret_cast<const char*>(data), size});
  const std::int64_t taken = Memory::most() - before;
  if (taken > room + CULPRIT_FUZZ_FACTOR * static_cast<std::int64_t>(size)) {
    throw std::logic_error(std::to_string(taken) + " bytes of memory for a file of " + std::to_string(size));
  }
  return 0;
}
