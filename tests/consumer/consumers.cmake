# SPDX-License-Identifier: MIT
#
# Projects that use culprit, one for each way there is: tests/consumer with other options. All but the strict ones compile
# little of it, in seconds.

# culprit_add_consumer(NAME option...): configures, builds and runs tests/consumer.
function(culprit_add_consumer name)
  set(folder "${PROJECT_BINARY_DIR}/consumer/${name}")
  add_test(
    NAME consumer/${name}
    COMMAND
      "${CMAKE_CTEST_COMMAND}" --build-and-test "${CMAKE_CURRENT_LIST_DIR}" "${folder}" --build-generator
      "${CMAKE_GENERATOR}" --build-options --fresh "-DCMAKE_CXX_COMPILER=${CMAKE_CXX_COMPILER}" ${ARGN} --test-command
      "${CMAKE_CTEST_COMMAND}" --output-on-failure)
  set_tests_properties(consumer/${name} PROPERTIES ${culprit_test_properties})
endfunction()

set(tree "${PROJECT_BINARY_DIR}/consumer/tree")
set(port "${PROJECT_BINARY_DIR}/consumer/port_of_vcpkg")
set(source "-DCULPRIT_SOURCE=${PROJECT_SOURCE_DIR}")
set(torch "-DCULPRIT_TORCH=${LibTorch_ROOT}")

# A tree that was installed and then moved, and one that the overlay port makes.
add_test(NAME consumer/install COMMAND "${CMAKE_COMMAND}" "-DBUILD=${PROJECT_BINARY_DIR}" "-DSOURCE=${PROJECT_SOURCE_DIR}"
                                       "-DTREE=${tree}" -P "${CMAKE_CURRENT_LIST_DIR}/install.cmake")
add_test(NAME consumer/port COMMAND "${CMAKE_COMMAND}" "-DSOURCE=${PROJECT_SOURCE_DIR}" "-DWORK=${port}" -P
                                    "${CMAKE_CURRENT_LIST_DIR}/port.cmake")
set_tests_properties(consumer/install PROPERTIES FIXTURES_SETUP tree)
set_tests_properties(consumer/port PROPERTIES FIXTURES_SETUP port)

# Without LibTorch, though it could be found.
culprit_add_consumer(core -DCONSUMER_WAY=find_package "-DCMAKE_PREFIX_PATH=${tree}" "${torch}" -DCONSUMER_CORE_ONLY=ON)
culprit_add_consumer(core_subproject -DCONSUMER_WAY=add_subdirectory "${source}" "${torch}" -DCULPRIT_WITH_TORCH=OFF
                     -DCONSUMER_CORE_ONLY=ON)
culprit_add_consumer(pkg_config -DCONSUMER_WAY=pkg_config -DCONSUMER_CORE_ONLY=ON)
set_tests_properties(consumer/pkg_config PROPERTIES ENVIRONMENT "PKG_CONFIG_PATH=${tree}/share/pkgconfig")
set_tests_properties(consumer/core consumer/pkg_config PROPERTIES FIXTURES_REQUIRED tree)

culprit_add_consumer(fetch_content -DCONSUMER_WAY=fetch_content "${source}" "${torch}")
culprit_add_consumer(own_torch -DCONSUMER_WAY=add_subdirectory "${source}" "-DCONSUMER_OWN_TORCH=${LibTorch_ROOT}")
culprit_add_consumer(find_package -DCONSUMER_WAY=find_package "-DCMAKE_PREFIX_PATH=${tree}" "${torch}")
culprit_add_consumer(found_twice -DCONSUMER_WAY=find_package "-DCMAKE_PREFIX_PATH=${tree}" "${torch}" -DCONSUMER_TWICE=ON)
set_tests_properties(consumer/find_package consumer/found_twice PROPERTIES FIXTURES_REQUIRED tree)
culprit_add_consumer(vcpkg -DCONSUMER_WAY=find_package "-DCMAKE_PREFIX_PATH=${port}/packages" "${torch}")
set_tests_properties(consumer/vcpkg PROPERTIES FIXTURES_REQUIRED port)

# An aggregation of the project's own in the fused kernel, which runs where there is a CUDA device.
if(CUDAToolkit_FOUND)
  culprit_add_consumer(
    cuda -DCONSUMER_WAY=find_package "-DCMAKE_PREFIX_PATH=${tree}" "${torch}" -DCONSUMER_CUDA=ON
    "-DCMAKE_CUDA_COMPILER=${CUDAToolkit_NVCC_EXECUTABLE}" -DCMAKE_CUDA_ARCHITECTURES=80)
  set_tests_properties(consumer/cuda PROPERTIES FIXTURES_REQUIRED tree LABELS gpu)
else()
  add_test(NAME consumer/cuda COMMAND "${CMAKE_COMMAND}" -E echo "SKIPPED: needs CUDA 12.8")
  set_tests_properties(consumer/cuda PROPERTIES ${culprit_test_properties} LABELS gpu)
endif()

# A machine without the CUDA toolkit: neither in PATH nor where CMake looks for it. LibTorch has its CUDA libraries all
# the same.
file(GLOB hidden "/usr/local/cuda*" "/usr/local/cuda*/bin" "/opt/cuda*" "/opt/cuda*/bin")
cmake_path(CONVERT "$ENV{PATH}" TO_CMAKE_PATH_LIST folders)
set(path)
foreach(folder IN LISTS folders ITEMS /usr/local/bin)
  if(EXISTS "${folder}/nvcc")
    list(APPEND hidden "${folder}")
  else()
    list(APPEND path "${folder}")
  endif()
endforeach()
cmake_path(CONVERT "${path}" TO_NATIVE_PATH_LIST path)
list(JOIN hidden "\\;" hidden)
set(sees cpu)
if(EXISTS "${LibTorch_ROOT}/lib/libtorch_cuda.so")
  set(sees cuda)
endif()
if(EXISTS /usr/bin/nvcc)
  add_test(NAME consumer/no_toolkit COMMAND "${CMAKE_COMMAND}" -E echo "SKIPPED: nvcc cannot be hidden in /usr/bin")
else()
  culprit_add_consumer(
    no_toolkit -DCONSUMER_WAY=add_subdirectory "${source}" "${torch}" -DCONSUMER_NO_TOOLKIT=ON -DCONSUMER_SEES=${sees}
    "-DCMAKE_IGNORE_PATH=${hidden}" "-DCMAKE_MAKE_PROGRAM=${CMAKE_MAKE_PROGRAM}")
endif()
set_tests_properties(
  consumer/no_toolkit
  PROPERTIES ${culprit_test_properties} ENVIRONMENT "PATH=${path}" ENVIRONMENT_MODIFICATION
             "CUDA_PATH=unset:;CUDA_HOME=unset:;CUDACXX=unset:;CUDAToolkit_ROOT=unset:")

# All public headers in two translation units of one program, with warnings that are errors, by both compilers. As a
# subproject, for warnings in the headers of a package that was found are not shown.
find_program(CULPRIT_GXX NAMES g++-12 g++)
foreach(compiler IN ITEMS GXX CLANG)
  string(TOLOWER "two_strict_units_${compiler}" name)
  if(CULPRIT_${compiler})
    culprit_add_consumer(${name} -DCONSUMER_WAY=add_subdirectory "${source}" "${torch}" -DCONSUMER_STRICT=ON
                         "-DCMAKE_CXX_COMPILER=${CULPRIT_${compiler}}")
  else()
    add_test(NAME consumer/${name} COMMAND "${CMAKE_COMMAND}" -E echo "SKIPPED: needs clang++-14")
  endif()
  set_tests_properties(consumer/${name} PROPERTIES ${culprit_test_properties} PROCESSORS ${processors})
endforeach()
