# SPDX-License-Identifier: MIT
#
# An overlay port: it builds the source tree that it lies in.
cmake_path(SET SOURCE_PATH NORMALIZE "${CMAKE_CURRENT_LIST_DIR}/../../../..")

set(VCPKG_BUILD_TYPE release)  # nothing but headers is of a build type

vcpkg_check_features(OUT_FEATURE_OPTIONS FEATURE_OPTIONS FEATURES program CULPRIT_BUILD_EXAMPLES)
vcpkg_cmake_configure(
  SOURCE_PATH "${SOURCE_PATH}"
  OPTIONS
    ${FEATURE_OPTIONS}
    -DCULPRIT_BUILD_TESTS=OFF
    -DCULPRIT_BUILD_BENCHMARKS=OFF
    -DCULPRIT_INSTALL=ON
    -DCMAKE_SKIP_INSTALL_ALL_DEPENDENCY=ON)  # of the examples only the program is built
if("program" IN_LIST FEATURES)
  vcpkg_cmake_build(TARGET culprit)
endif()
vcpkg_cmake_install()
vcpkg_cmake_config_fixup(CONFIG_PATH share/cmake/culprit)
vcpkg_fixup_pkgconfig()
if("program" IN_LIST FEATURES)
  vcpkg_copy_tools(TOOL_NAMES culprit AUTO_CLEAN)
endif()

file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/doc")
file(INSTALL "${CMAKE_CURRENT_LIST_DIR}/usage" DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}")
vcpkg_install_copyright(FILE_LIST "${SOURCE_PATH}/LICENSE")
