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

# The linter reads what the preset headers-clang compiles, for its flags are clang's: the umbrella, and the headers
# that it does not bring.
culprit_add_check(check/tidy clang-tidy-14 "${CULPRIT_CLANG_TIDY}" "${CULPRIT_CLANG_TIDY}" --quiet
                  -p "${PROJECT_SOURCE_DIR}/build/headers-clang"
                  "${PROJECT_SOURCE_DIR}/build/headers-clang/headers/culprit/culprit.cpp"
                  "${PROJECT_SOURCE_DIR}/build/headers-clang/headers/culprit/core/statistics.cpp"
                  "${PROJECT_SOURCE_DIR}/build/headers-clang/headers/culprit/distributed/process_group.cpp"
                  "${PROJECT_SOURCE_DIR}/build/headers-clang/headers/culprit/io/csv.cpp"
                  "${PROJECT_SOURCE_DIR}/build/headers-clang/headers/culprit/io/isolate.cpp"
                  "${PROJECT_SOURCE_DIR}/build/headers-clang/headers/culprit/io/moments_tensors.cpp")
set_tests_properties(check/tidy PROPERTIES FIXTURES_REQUIRED headers-clang)

# culprit_add_consumer(NAME option...): configures, builds and runs tests/consumer.
function(culprit_add_consumer name)
  add_test(
    NAME consumer/${name}
    COMMAND
      "${CMAKE_CTEST_COMMAND}" --build-and-test "${PROJECT_SOURCE_DIR}/tests/consumer"
      "${PROJECT_BINARY_DIR}/consumer/${name}" --build-generator "${CMAKE_GENERATOR}" --build-options
      "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}" ${ARGN} --test-command "${CMAKE_CTEST_COMMAND}" --output-on-failure)
  set_tests_properties(consumer/${name} PROPERTIES ${culprit_test_properties})
endfunction()

set(prefix "${PROJECT_BINARY_DIR}/consumer/prefix")
add_test(NAME consumer/install COMMAND "${CMAKE_COMMAND}" --install "${PROJECT_BINARY_DIR}" --prefix "${prefix}")
set_tests_properties(consumer/install PROPERTIES FIXTURES_SETUP installed)
culprit_add_consumer(installed "-DCMAKE_PREFIX_PATH=${prefix}" "-DCULPRIT_TORCH=${LibTorch_ROOT}")
culprit_add_consumer(installed_core "-DCMAKE_PREFIX_PATH=${prefix}" -DCONSUMER_CORE_ONLY=ON)
culprit_add_consumer(subproject "-DCULPRIT_SOURCE=${PROJECT_SOURCE_DIR}" "-DCULPRIT_TORCH=${LibTorch_ROOT}")
culprit_add_consumer(subproject_core "-DCULPRIT_SOURCE=${PROJECT_SOURCE_DIR}" -DCULPRIT_WITH_TORCH=OFF
                     -DCONSUMER_CORE_ONLY=ON)
set_tests_properties(consumer/installed consumer/installed_core PROPERTIES FIXTURES_REQUIRED installed)
