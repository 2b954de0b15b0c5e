# SPDX-License-Identifier: MIT
#
# One fuzzer for each reader. As a test it makes a fixed number of runs from a fixed seed and the corpus. By hand it
# goes on for ever, and keeps what it finds in its first folder:
#   mkdir -p build/found && build/asan/bin/fuzz_json build/found tests/fuzz/corpus/json
file(GLOB culprit_fuzzers CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/fuzz_*.cpp")
foreach(source IN LISTS culprit_fuzzers)
  cmake_path(GET source STEM name)
  string(REPLACE fuzz_ "" format "${name}")
  add_executable(${name} "${source}")
  target_link_libraries(${name} PRIVATE culprit::core culprit_warnings)
  target_include_directories(${name} PRIVATE "${CMAKE_CURRENT_SOURCE_DIR}")
  target_compile_options(${name} PRIVATE -fsanitize=fuzzer)
  target_link_options(${name} PRIVATE -fsanitize=fuzzer)

  file(GLOB corpus CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/corpus/${format}/*")
  list(JOIN corpus "," corpus)
  add_test(NAME fuzz/${format} COMMAND ${name} -seed=1 -runs=20000 "-artifact_prefix=${PROJECT_BINARY_DIR}/${name}-"
                                       "-seed_inputs=${corpus}")
  set_tests_properties(fuzz/${format} PROPERTIES ${culprit_test_properties})
endforeach()
