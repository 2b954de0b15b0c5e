# SPDX-License-Identifier: MIT
#
#   cmake -D COMPILER=program -D FLAGS=response_file -D FILE=file.cpp -P check.cmake
# The errors that the compiler has for the file are those of its comments, in their order: each `// error: sentence`,
# over as many lines as it takes.
cmake_minimum_required(VERSION 3.25)

file(READ "${FILE}" text)
string(REPLACE "// error: " "@error: " text "${text}")  # so that a sentence does not go on with the next one
string(REGEX MATCHALL "@error: [^\n]*(\n *// [^\n]*)*" comments "${text}")
set(expected)
foreach(comment IN LISTS comments)
  string(REGEX REPLACE "\n *// " " " comment "${comment}")
  string(REPLACE "@error: " "\n  " comment "${comment}")
  string(APPEND expected "${comment}")
endforeach()

set(ENV{LC_ALL} C)
execute_process(COMMAND "${COMPILER}" "@${FLAGS}" -fsyntax-only "${FILE}" ERROR_VARIABLE output)
string(REGEX MATCHALL "error: [^\n]*" errors "${output}")
set(found)
foreach(error IN LISTS errors)
  string(REGEX REPLACE "^error: static assertion failed: " "error: " error "${error}")             # g++
  string(REGEX REPLACE "^error: static_assert failed[^\"]*\"(.*)\"$" "error: \\1" error "${error}")  # clang
  string(REPLACE "error: " "\n  " error "${error}")
  string(APPEND found "${error}")
endforeach()

if(NOT found STREQUAL expected)
  message(FATAL_ERROR "${FILE}\nerrors that its comments name:${expected}\nerrors that came:${found}\n\n${output}")
endif()
