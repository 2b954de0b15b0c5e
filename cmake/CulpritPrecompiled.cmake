# SPDX-License-Identifier: MIT
#
# One precompiled header for all programs of the project that use LibTorch: parsing its headers and the library's is most
# of the time of compiling them.

file(GENERATE OUTPUT "${PROJECT_BINARY_DIR}/precompiled.cpp" CONTENT "")
# CMake makes a system header of it, and so of all that it includes: the library's warnings would be silent.
set(CMAKE_PCH_PROLOGUE "")
add_library(culprit_precompiled OBJECT "${PROJECT_BINARY_DIR}/precompiled.cpp")
target_link_libraries(culprit_precompiled PRIVATE culprit::core LibTorch::cpu culprit_warnings)
target_precompile_headers(culprit_precompiled PRIVATE <torch/torch.h> <torch/script.h> <Eigen/Core> <culprit/culprit.hpp>)

# culprit_use_precompiled(TARGET): TARGET has the flags of culprit_precompiled and begins with its headers.
function(culprit_use_precompiled target)
  target_precompile_headers(${target} REUSE_FROM culprit_precompiled)
endfunction()
