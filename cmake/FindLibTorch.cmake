# SPDX-License-Identifier: MIT
#
# Finds LibTorch without its own package file, which stops where a CUDA build of LibTorch meets a machine
# without the CUDA toolkit. Only headers and libraries are needed, never the toolkit.
#
# Looked at in this order: a target `torch` that the project already has; the variable CULPRIT_TORCH; the
# environment variable CULPRIT_TORCH; CMAKE_PREFIX_PATH; the directories in LibTorch_HINTS. Each may be an unpacked
# LibTorch, the `torch` folder of the Python wheel, or a path inside it such as torch.utils.cmake_prefix_path gives.
#
# Targets:
#   LibTorch::LibTorch  all of LibTorch, with the CUDA libraries where this build of it has them
#   LibTorch::cpu       without them: a program starts sooner and sees no CUDA device
#   LibTorch::cuda      all of LibTorch, and its functions for CUDA streams, for what nvcc compiles
# Variables: LibTorch_FOUND, LibTorch_VERSION, and LibTorch_ROOT, which is not set for a target that was there before

set(CULPRIT_TORCH "" CACHE PATH "LibTorch to use: an unpacked LibTorch or the torch folder of the Python wheel")

include(FindPackageHandleStandardArgs)

if(TARGET torch AND NOT TARGET LibTorch::LibTorch)
  add_library(LibTorch::LibTorch INTERFACE IMPORTED GLOBAL)
  target_link_libraries(LibTorch::LibTorch INTERFACE torch)
  add_library(LibTorch::cpu INTERFACE IMPORTED GLOBAL)
  target_link_libraries(LibTorch::cpu INTERFACE torch)
  add_library(LibTorch::cuda INTERFACE IMPORTED GLOBAL)
  target_link_libraries(LibTorch::cuda INTERFACE torch)
  if(DEFINED Torch_VERSION)  # find_package(Torch) made it; of a target of another origin it is not known
    set_target_properties(LibTorch::LibTorch PROPERTIES VERSION "${Torch_VERSION}")
  endif()
endif()

if(TARGET LibTorch::LibTorch)
  if(NOT TARGET LibTorch::cuda)  # by the module of an older culprit in the same project
    add_library(LibTorch::cuda INTERFACE IMPORTED GLOBAL)
    target_link_libraries(LibTorch::cuda INTERFACE LibTorch::LibTorch)
  endif()
  get_property(LibTorch_VERSION TARGET LibTorch::LibTorch PROPERTY VERSION)
  set(_libtorch_target LibTorch::LibTorch)
  find_package_handle_standard_args(LibTorch REQUIRED_VARS _libtorch_target VERSION_VAR LibTorch_VERSION)
  return()
endif()

# A path inside LibTorch -> its root, the folder that holds include/ and lib/.
set(_libtorch_candidates)
foreach(_libtorch_start IN ITEMS "${CULPRIT_TORCH}" "$ENV{CULPRIT_TORCH}" LISTS CMAKE_PREFIX_PATH)
  if(_libtorch_start)
    list(APPEND _libtorch_candidates "${_libtorch_start}")
  endif()
endforeach()
if(DEFINED ENV{CMAKE_PREFIX_PATH})
  string(REPLACE ":" ";" _libtorch_prefixes "$ENV{CMAKE_PREFIX_PATH}")
  list(APPEND _libtorch_candidates ${_libtorch_prefixes})
endif()
list(APPEND _libtorch_candidates ${LibTorch_HINTS})

set(LibTorch_ROOT)
foreach(_libtorch_start IN LISTS _libtorch_candidates)
  foreach(_libtorch_step IN ITEMS "" "/torch" "/.." "/../.." "/../../..")
    if(NOT LibTorch_ROOT AND EXISTS "${_libtorch_start}${_libtorch_step}/include/ATen/ATen.h")
      file(REAL_PATH "${_libtorch_start}${_libtorch_step}" LibTorch_ROOT)
    endif()
  endforeach()
endforeach()

set(_libtorch_lib "${LibTorch_ROOT}/lib")
set(LibTorch_VERSION)
foreach(_libtorch_header IN ITEMS include/torch/headeronly/version.h include/torch/csrc/api/include/torch/version.h)
  if(LibTorch_ROOT AND NOT LibTorch_VERSION AND EXISTS "${LibTorch_ROOT}/${_libtorch_header}")
    file(STRINGS "${LibTorch_ROOT}/${_libtorch_header}" _libtorch_lines
         REGEX "^#define TORCH_VERSION_(MAJOR|MINOR|PATCH) [0-9]+")
    string(REGEX MATCHALL "[0-9]+" _libtorch_numbers "${_libtorch_lines}")
    list(JOIN _libtorch_numbers "." LibTorch_VERSION)
  endif()
endforeach()

set(_libtorch_have_libraries FALSE)
if(EXISTS "${_libtorch_lib}/libtorch_cpu.so" AND EXISTS "${_libtorch_lib}/libc10.so"
   AND EXISTS "${_libtorch_lib}/libtorch.so")
  set(_libtorch_have_libraries TRUE)
endif()

find_package_handle_standard_args(
  LibTorch
  REQUIRED_VARS LibTorch_ROOT _libtorch_have_libraries
  VERSION_VAR LibTorch_VERSION
  REASON_FAILURE_MESSAGE
    "Give it with -DCULPRIT_TORCH=DIR, an unpacked LibTorch or the torch folder of the Python wheel.")

if(LibTorch_FOUND)
  # Older builds may use the old string ABI of libstdc++; they say so in their package file, which is only read here.
  set(_libtorch_definitions)
  if(EXISTS "${LibTorch_ROOT}/share/cmake/Torch/TorchConfig.cmake")
    file(READ "${LibTorch_ROOT}/share/cmake/Torch/TorchConfig.cmake" _libtorch_config)
    if(_libtorch_config MATCHES "_GLIBCXX_USE_CXX11_ABI=([01])")
      set(_libtorch_definitions "_GLIBCXX_USE_CXX11_ABI=${CMAKE_MATCH_1}")
    endif()
  endif()
  foreach(_libtorch_name IN ITEMS c10 torch_cpu torch)
    add_library(LibTorch::detail_${_libtorch_name} SHARED IMPORTED GLOBAL)
    set_target_properties(LibTorch::detail_${_libtorch_name} PROPERTIES
                          IMPORTED_LOCATION "${_libtorch_lib}/lib${_libtorch_name}.so")
  endforeach()
  add_library(LibTorch::cpu INTERFACE IMPORTED GLOBAL)
  target_include_directories(
    LibTorch::cpu SYSTEM INTERFACE "${LibTorch_ROOT}/include" "${LibTorch_ROOT}/include/torch/csrc/api/include")
  target_compile_definitions(LibTorch::cpu INTERFACE ${_libtorch_definitions})
  target_link_libraries(LibTorch::cpu INTERFACE LibTorch::detail_torch_cpu LibTorch::detail_c10)

  # libtorch.so only names the CUDA libraries as its dependencies and defines nothing itself, so that the linker
  # would drop it where it is told to keep needed libraries only; without it no CUDA device is ever seen.
  add_library(LibTorch::LibTorch INTERFACE IMPORTED GLOBAL)
  set_target_properties(LibTorch::LibTorch PROPERTIES VERSION "${LibTorch_VERSION}")
  target_link_libraries(LibTorch::LibTorch INTERFACE LibTorch::cpu LibTorch::detail_torch)
  target_link_options(LibTorch::LibTorch INTERFACE "LINKER:--no-as-needed")

  add_library(LibTorch::cuda INTERFACE IMPORTED GLOBAL)
  target_link_libraries(LibTorch::cuda INTERFACE LibTorch::LibTorch)
  if(EXISTS "${_libtorch_lib}/libc10_cuda.so")
    target_link_libraries(LibTorch::cuda INTERFACE "${_libtorch_lib}/libc10_cuda.so")
  endif()
endif()
