# SPDX-License-Identifier: MIT
#
# What must not compile: for each role the mistakes in its file give the sentences in the comments before them, and
# no other error, with either compiler (see check.cmake). All files in one translation unit, each in a namespace of its
# own, for it is LibTorch's headers that take the time.
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

file(GLOB files CONFIGURE_DEPENDS "${CMAKE_CURRENT_LIST_DIR}/*.cpp")
set(unit "#include <culprit/culprit.hpp>\n")
foreach(file IN LISTS files)
  cmake_path(GET file STEM role)
  string(APPEND unit "namespace mistakes_${role} {\n#include \"${file}\"\n}\n")
endforeach()
file(GENERATE OUTPUT "${flags}.cpp" CONTENT "${unit}")
list(JOIN files "," files)

# culprit_add_mistakes(COMPILER PROGRAM [OPTION]): a test that is listed as skipped where the compiler is missing.
function(culprit_add_mistakes compiler program)
  set(command -D "COMPILER=${program}" -D "OPTIONS=${ARGN}" -D "FLAGS=${flags}" -D "UNIT=${flags}.cpp" -D "FILES=${files}" -P
              "${CMAKE_CURRENT_FUNCTION_LIST_DIR}/check.cmake")
  if(NOT program)
    set(command -E echo "SKIPPED: needs ${compiler}")
  endif()
  add_test(NAME "compile/${compiler}" COMMAND "${CMAKE_COMMAND}" ${command})
  set_tests_properties("compile/${compiler}" PROPERTIES LABELS check ${culprit_test_properties})
endfunction()

culprit_add_mistakes(g++ "${CULPRIT_GCC}")
culprit_add_mistakes(clang++-14 "${CULPRIT_CLANG}" -ferror-limit=0)
