# SPDX-License-Identifier: MIT
#
# What must not compile: for each role the mistakes in its file give the sentences in the comments before them, and
# no other error, with either compiler (see check.cmake).
if(NOT CULPRIT_CHECK_SOURCES)
  return()
endif()

find_program(CULPRIT_GCC NAMES g++)
find_program(CULPRIT_CLANG NAMES clang++-14)

set(flags "${PROJECT_BINARY_DIR}/compile_flags")
set(folders "$<TARGET_PROPERTY:culprit_library,INTERFACE_INCLUDE_DIRECTORIES>")
set(definitions "$<TARGET_PROPERTY:culprit_library,INTERFACE_COMPILE_DEFINITIONS>")
# Not -isystem: it would move the compiler's own folder, where range-v3 may be, before the standard library's.
file(GENERATE OUTPUT "${flags}" CONTENT "-std=c++20 -w
\"-I$<JOIN:${folders},\"\n\"-I>\"
$<$<BOOL:${definitions}>:-D$<JOIN:${definitions},\n-D>>
")

# culprit_add_twins(COMPILER PROGRAM): one test for each role, listed as skipped where the compiler is missing.
function(culprit_add_twins compiler program)
  file(GLOB files CONFIGURE_DEPENDS "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/*.cpp")
  foreach(file IN LISTS files)
    cmake_path(GET file STEM role)
    set(command -D "COMPILER=${program}" -D "FLAGS=${flags}" -D "FILE=${file}" -P
                "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/check.cmake")
    if(NOT program)
      set(command -E echo "SKIPPED: needs ${compiler}")
    endif()
    add_test(NAME "compile/${role}/${compiler}" COMMAND "${CMAKE_COMMAND}" ${command})
    set_tests_properties("compile/${role}/${compiler}" PROPERTIES LABELS check ${culprit_test_properties})
  endforeach()
endfunction()

culprit_add_twins(g++ "${CULPRIT_GCC}")
culprit_add_twins(clang++-14 "${CULPRIT_CLANG}")
