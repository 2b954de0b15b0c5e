# SPDX-License-Identifier: MIT
#
# What is checked about the sources themselves, as tests: the format, the documentation, the linter, every header alone
# under two compilers, the sanitizers, the device code, and projects that use the package.
find_program(CULPRIT_CLANG_FORMAT NAMES clang-format-14)
find_program(CULPRIT_CLANG_TIDY NAMES clang-tidy-14)
find_program(CULPRIT_CLANG NAMES clang++-14)
find_program(CULPRIT_DOXYGEN NAMES doxygen)
find_package(CUDAToolkit 12.8 QUIET)  # the first that knows all architectures of the preset

# culprit_add_check(NAME NEEDED TOOL command...): a test that is listed as skipped where the tool is missing.
function(culprit_add_check name needed tool)
  if(tool)
    add_test(NAME "${name}" COMMAND ${ARGN} WORKING_DIRECTORY "${PROJECT_SOURCE_DIR}")
  else()
    add_test(NAME "${name}" COMMAND "${CMAKE_COMMAND}" -E echo "SKIPPED: needs ${needed}")
  endif()
  set_tests_properties("${name}" PROPERTIES LABELS check ${culprit_test_properties} TIMEOUT 3000)
endfunction()

set(sources)
foreach(folder IN ITEMS include examples tests benchmarks)
  file(GLOB_RECURSE folder_sources CONFIGURE_DEPENDS "${PROJECT_SOURCE_DIR}/${folder}/*.[ch]pp"
       "${PROJECT_SOURCE_DIR}/${folder}/*.cu" "${PROJECT_SOURCE_DIR}/${folder}/*.cuh")
  list(APPEND sources ${folder_sources})
endforeach()
culprit_add_check(check/format clang-format-14 "${CULPRIT_CLANG_FORMAT}" "${CULPRIT_CLANG_FORMAT}" --dry-run -Werror ${sources})

# The code in the documentation is that of the files it names.
culprit_add_check(check/snippets python3 "${CULPRIT_PYTHON}" "${CULPRIT_PYTHON}" tests/docs/snippets.py)

# Links in the documentation lead somewhere, and everything public is documented.
culprit_add_check(check/links python3 "${CULPRIT_PYTHON}" "${CULPRIT_PYTHON}" tests/docs/links.py)
culprit_add_check(check/docs doxygen "${CULPRIT_DOXYGEN}" "${CMAKE_COMMAND}" --workflow --preset docs)

# Those that compile use all processors themselves.
cmake_host_system_information(RESULT processors QUERY NUMBER_OF_LOGICAL_CORES)
foreach(preset IN ITEMS headers headers-clang asan tsan)
  culprit_add_check(check/${preset} clang++-14 "${CULPRIT_CLANG}" "${CMAKE_COMMAND}" --workflow --preset ${preset})
  set_tests_properties(check/${preset} PROPERTIES PROCESSORS ${processors})
endforeach()
culprit_add_check(check/cuda "CUDA 12.8" "${CUDAToolkit_NVCC_EXECUTABLE}" "${CMAKE_COMMAND}" --workflow --preset cuda)
set_tests_properties(check/headers-clang PROPERTIES FIXTURES_SETUP headers-clang)
set_tests_properties(check/headers PROPERTIES LABELS nightly)  # of what one compiler accepts the other refuses little

# The linter reads what the preset headers-clang compiles, for its flags are clang's: the umbrella, and the headers
# that it does not bring.
set(tidy_core "${PROJECT_SOURCE_DIR}/build/headers-clang/culprit_core_verify_interface_header_sets/culprit")
set(tidy_library "${PROJECT_SOURCE_DIR}/build/headers-clang/culprit_library_verify_interface_header_sets/culprit")
culprit_add_check(
  check/tidy clang-tidy-14 "${CULPRIT_CLANG_TIDY}" "${CULPRIT_CLANG_TIDY}" --quiet
  -p "${PROJECT_SOURCE_DIR}/build/headers-clang" "${tidy_library}/culprit.hpp.cxx"
  "${tidy_library}/distributed/process_group.hpp.cxx" "${tidy_core}/core/statistics.hpp.cxx"
  "${tidy_core}/io/csv.hpp.cxx" "${tidy_core}/io/isolate.hpp.cxx" "${tidy_core}/io/moments_tensors.hpp.cxx")
set_tests_properties(check/tidy PROPERTIES FIXTURES_REQUIRED headers-clang)

include(consumer/consumers.cmake)
