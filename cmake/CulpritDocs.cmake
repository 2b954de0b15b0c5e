# SPDX-License-Identifier: MIT
#
# The target docs: the pages in docs/ and the reference of include/ as a site, html/index.html in the build folder. It
# fails on what is not documented and on dead links.
find_package(Doxygen 1.9.4 REQUIRED)
set(Python3_ROOT_DIR "${PROJECT_SOURCE_DIR}/.venv")
find_package(Python3 REQUIRED COMPONENTS Interpreter)
find_path(CULPRIT_DOXYGEN_AWESOME doxygen-awesome.css PATH_SUFFIXES share/doxygen-awesome-css
          DOC "Folder of doxygen-awesome-css, a theme; without it the site looks as Doxygen's do")

set(DOXYGEN_PROJECT_BRIEF "${PROJECT_DESCRIPTION}")
set(DOXYGEN_OUTPUT_DIRECTORY "${PROJECT_BINARY_DIR}")
set(DOXYGEN_USE_MDFILE_AS_MAINPAGE "${PROJECT_SOURCE_DIR}/docs/README.md")
set(DOXYGEN_FILE_PATTERNS *.hpp *.cuh *.md *.dox)
set(DOXYGEN_EXTENSION_MAPPING cuh=C++)
set(DOXYGEN_INPUT_FILTER [["\"@Python3_EXECUTABLE@\" \"@PROJECT_SOURCE_DIR@/docs/site/filter.py\""]])
string(CONFIGURE "${DOXYGEN_INPUT_FILTER}" DOXYGEN_INPUT_FILTER @ONLY)
set(DOXYGEN_VERBATIM_VARS DOXYGEN_INPUT_FILTER)
set(DOXYGEN_STRIP_FROM_PATH "${PROJECT_SOURCE_DIR}/include")
set(DOXYGEN_STRIP_FROM_INC_PATH "${PROJECT_SOURCE_DIR}/include")
set(DOXYGEN_EXCLUDE_SYMBOLS *::detail *::detail::*)
set(DOXYGEN_JAVADOC_AUTOBRIEF YES)
set(DOXYGEN_BUILTIN_STL_SUPPORT YES)
set(DOXYGEN_SORT_MEMBERS_CTORS_1ST YES)
set(DOXYGEN_SOURCE_BROWSER YES)
set(DOXYGEN_SHOW_USED_FILES NO)
set(DOXYGEN_HAVE_DOT NO)
set(DOXYGEN_GENERATE_TREEVIEW YES)
set(DOXYGEN_HTML_TIMESTAMP NO)
set(DOXYGEN_QUIET YES)

# A parameter whose name says all needs no line; all else that is public has a comment.
set(DOXYGEN_EXTRACT_ALL NO)
set(DOXYGEN_WARN_IF_UNDOCUMENTED YES)
set(DOXYGEN_WARN_IF_INCOMPLETE_DOC NO)
set(DOXYGEN_WARN_AS_ERROR FAIL_ON_WARNINGS)

if(CULPRIT_DOXYGEN_AWESOME)
  set(DOXYGEN_HTML_EXTRA_STYLESHEET "${CULPRIT_DOXYGEN_AWESOME}/doxygen-awesome.css"
                                    "${CULPRIT_DOXYGEN_AWESOME}/doxygen-awesome-sidebar-only.css")
endif()
list(APPEND DOXYGEN_HTML_EXTRA_STYLESHEET "${PROJECT_SOURCE_DIR}/docs/site/site.css")

doxygen_add_docs(docs "${PROJECT_SOURCE_DIR}/docs" "${PROJECT_SOURCE_DIR}/include"
                 COMMENT "Writing ${PROJECT_BINARY_DIR}/html/index.html")
# Doxygen lets the pages lie of what is there no more.
add_custom_target(docs_clean COMMAND "${CMAKE_COMMAND}" -E rm -rf "${PROJECT_BINARY_DIR}/html")
add_dependencies(docs docs_clean)
add_custom_command(
  TARGET docs
  POST_BUILD
  COMMAND "${CMAKE_COMMAND}" -E copy_directory "${PROJECT_SOURCE_DIR}/docs/figures" "${PROJECT_BINARY_DIR}/html/figures"
  COMMAND "${Python3_EXECUTABLE}" "${PROJECT_SOURCE_DIR}/tests/docs/links.py" "${PROJECT_BINARY_DIR}/html"
  VERBATIM)
