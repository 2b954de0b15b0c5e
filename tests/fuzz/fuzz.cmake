# SPDX-License-Identifier: MIT
#
# One fuzzer for each reader. As a test it makes a fixed number of runs from a fixed seed and the corpus, for twenty
# seconds at most. By hand it goes on for ever, and keeps what it finds in its first folder:
#   mkdir -p build/found && build/asan/bin/fuzz_json build/found tests/fuzz/corpus/json
find_package(JPEG REQUIRED)
find_package(PNG REQUIRED)
find_package(ZLIB REQUIRED)

# culprit_add_fuzzers(HEADER RUNS n [FACTOR n] READERS name...): of each function fuzz_NAME in the header. It may take
# 1 MiB of memory and FACTOR bytes for each byte that it reads, 2 unless that is not the end.
function(culprit_add_fuzzers header)
  cmake_parse_arguments(PARSE_ARGV 1 arg "" "RUNS;FACTOR" "READERS")
  if(NOT arg_FACTOR)
    set(arg_FACTOR 2)
  endif()
  foreach(reader IN LISTS arg_READERS)
    set(name fuzz_${reader})
    add_executable(${name} fuzz/driver.cpp)
    target_link_libraries(${name} PRIVATE culprit::core culprit_warnings JPEG::JPEG PNG::PNG ZLIB::ZLIB)
    target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}" "${PROJECT_SOURCE_DIR}/examples")
    target_compile_definitions(${name} PRIVATE "CULPRIT_FUZZ_HEADER=\"fuzz/${header}\"" CULPRIT_FUZZ_TARGET=${name}
                                               CULPRIT_FUZZ_FACTOR=${arg_FACTOR})
    target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
    target_link_options(${name} PRIVATE -fsanitize=fuzzer)

    file(GLOB corpus CONFIGURE_DEPENDS "${CMAKE_CURRENT_SOURCE_DIR}/fuzz/corpus/${reader}/*")
    list(JOIN corpus "," corpus)
    add_test(NAME fuzz/${reader}
             COMMAND ${name} -seed=1 -runs=${arg_RUNS} -max_total_time=20 -max_len=8192 -timeout=300
                     "-artifact_prefix=${PROJECT_BINARY_DIR}/${name}-" "-seed_inputs=${corpus}")
    set_tests_properties(fuzz/${reader} PROPERTIES ${culprit_test_properties})
  endforeach()
endfunction()

culprit_add_fuzzers(format_targets.hpp RUNS 100000 READERS json npy safetensors)
culprit_add_fuzzers(file_targets.hpp RUNS 40000 READERS units fingerprint baseline moments checkpoint store index)
culprit_add_fuzzers(data_targets.hpp RUNS 100000 READERS list classes boxes cifar10)
# Deflate makes at most 1032 bytes of one, and a vector that grows to hold them takes three times that.
culprit_add_fuzzers(data_targets.hpp RUNS 50000 FACTOR 3096 READERS idx)
# 512 pixels of a byte, each of 4 bytes as CMYK, 3 as RGB and 8 of coefficients.
culprit_add_fuzzers(data_targets.hpp RUNS 100000 FACTOR 8192 READERS jpeg)
# 1032 bytes of a byte, each of 8 pixels of a palette, 3 bytes as RGB.
culprit_add_fuzzers(data_targets.hpp RUNS 100000 FACTOR 24768 READERS png)
