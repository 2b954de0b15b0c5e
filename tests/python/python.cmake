# SPDX-License-Identifier: MIT
#
# The package for Python, installed into the build folder as pip does it, and its tests.
set(python_package "${PROJECT_BINARY_DIR}/python")
culprit_add_python_test(python/build python/build.py ARGUMENTS "${python_package}")
set_tests_properties(python/build PROPERTIES FIXTURES_SETUP python_package)

# culprit_add_package_test(NAME [ARGUMENTS argument...]): tests/python/NAME_test.py with the package.
function(culprit_add_package_test name)
  culprit_add_python_test(python/${name} python/${name}_test.py ${ARGN})
  set_tests_properties(python/${name} PROPERTIES FIXTURES_REQUIRED python_package ENVIRONMENT
                                                 "OMP_NUM_THREADS=1;PYTHONPATH=${python_package}")
endfunction()

culprit_add_package_test(model)
culprit_add_package_test(errors)
culprit_add_package_test(snippets)
culprit_add_package_test(stub)
culprit_add_package_test(example)
culprit_add_package_test(inline ARGUMENTS "${PROJECT_BINARY_DIR}/python_extensions")
culprit_add_package_test(program ARGUMENTS "$<TARGET_FILE:culprit>")
