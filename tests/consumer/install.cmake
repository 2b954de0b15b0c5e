# SPDX-License-Identifier: MIT
#
# cmake -DBUILD=DIR -DSOURCE=DIR -DTREE=DIR -P install.cmake: installs a build and moves the result to TREE. No file of
# the package may name a place where it was made.
cmake_minimum_required(VERSION 3.25)

file(REMOVE_RECURSE "${TREE}" "${TREE}.installed")
execute_process(COMMAND "${CMAKE_COMMAND}" --install "${BUILD}" --prefix "${TREE}.installed" COMMAND_ERROR_IS_FATAL ANY
                OUTPUT_QUIET)
file(RENAME "${TREE}.installed" "${TREE}")

file(GLOB_RECURSE files RELATIVE "${TREE}" "${TREE}/include/*" "${TREE}/share/*")
foreach(file IN LISTS files)
  foreach(place IN ITEMS "${BUILD}" "${SOURCE}" "${TREE}")
    file(STRINGS "${TREE}/${file}" lines REGEX "${place}")
    if(lines)
      message(FATAL_ERROR "${file} names a place that is not its reader's: ${lines}")
    endif()
  endforeach()
endforeach()

# The headers of the source tree, no more and no less.
file(GLOB_RECURSE headers RELATIVE "${SOURCE}/include" "${SOURCE}/include/*")
file(GLOB_RECURSE installed RELATIVE "${TREE}/include" "${TREE}/include/*")
if(NOT "${headers}" STREQUAL "${installed}")
  message(FATAL_ERROR "expected the headers ${headers}, came ${installed}")
endif()
