# SPDX-License-Identifier: MIT
#
# Every public header compiles alone, twice in a row: one source file for each. Those of core/ and io/ do so without
# LibTorch in reach.
file(GLOB_RECURSE culprit_headers CONFIGURE_DEPENDS RELATIVE "${PROJECT_SOURCE_DIR}/include"
     "${PROJECT_SOURCE_DIR}/include/*.hpp")

add_library(culprit_headers_core OBJECT)
target_link_libraries(culprit_headers_core PRIVATE culprit::core culprit_warnings)
add_library(culprit_headers_library OBJECT)
target_link_libraries(culprit_headers_library PRIVATE culprit::culprit culprit_warnings)

foreach(header IN LISTS culprit_headers)
  string(REPLACE ".hpp" ".cpp" source "${PROJECT_BINARY_DIR}/headers/${header}")
  file(CONFIGURE OUTPUT "${source}" CONTENT "#include \"${header}\"\n#include \"${header}\"  // NOLINT\n")
  if(header MATCHES "^culprit/(core|io)/" OR header STREQUAL "culprit/version.hpp")
    target_sources(culprit_headers_core PRIVATE "${source}")
  else()
    target_sources(culprit_headers_library PRIVATE "${source}")
  endif()
endforeach()
