# SPDX-License-Identifier: MIT
#
#   cmake -D COMPILER=program -D OPTIONS=option -D FLAGS=response_file -D UNIT=file.cpp -D FILES=file.cpp,... -P check.cmake
# The errors that the compiler has for the unit are those of the files' comments, in any order: each `// error: sentence`,
# over as many lines as it takes.
cmake_minimum_required(VERSION 3.25)

set(text)
string(REPLACE "," ";" files "${FILES}")
foreach(file IN LISTS files)
  file(READ "${file}" part)
  string(APPEND text "${part}")
endforeach()
string(REPLACE "// error: " "@error: " text "${text}")  # so that a sentence does not go on with the next one
string(REGEX MATCHALL "@error: [^\n]*(\n *// [^\n]*)*" comments "${text}")
set(expected)
foreach(comment IN LISTS comments)
  string(REGEX REPLACE "\n *// " " " comment "${comment}")
  string(REPLACE "@error: " "\n  " comment "${comment}")
  list(APPEND expected "${comment}")
endforeach()

set(ENV{LC_ALL} C)
execute_process(COMMAND "${COMPILER}" "@${FLAGS}" ${OPTIONS} -fsyntax-only "${UNIT}" ERROR_VARIABLE output)
string(REGEX MATCHALL "error: [^\n]*" errors "${output}")
set(found)
foreach(error IN LISTS errors)
  string(REGEX REPLACE "^error: static assertion failed: " "error: " error "${error}")             # g++
  string(REGEX REPLACE "^error: static_assert failed[^\"]*\"(.*)\"$" "error: \\1" error "${error}")  # clang
  string(REPLACE "error: " "\n  " error "${error}")
  list(APPEND found "${error}")
endforeach()

list(SORT expected)
list(SORT found)
if(NOT found STREQUAL expected)
  message(FATAL_ERROR "errors that comments name:${expected}\nerrors that came:${found}\n\n${output}")
endif()
