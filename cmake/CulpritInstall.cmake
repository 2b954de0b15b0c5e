# SPDX-License-Identifier: MIT
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(culprit_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/culprit")
set(culprit_pkgconfig_dir "${CMAKE_INSTALL_DATADIR}/pkgconfig")

install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DATADIR}/doc/culprit")

install(TARGETS culprit_core EXPORT culpritCore FILE_SET HEADERS)
install(EXPORT culpritCore NAMESPACE culprit:: FILE culpritCoreTargets.cmake DESTINATION "${culprit_package_dir}")
if(CULPRIT_WITH_TORCH)
  install(TARGETS culprit_library culprit_cuda EXPORT culpritLibrary FILE_SET HEADERS)
  install(EXPORT culpritLibrary NAMESPACE culprit:: FILE culpritLibraryTargets.cmake
          DESTINATION "${culprit_package_dir}")
  install(FILES "${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake" DESTINATION "${culprit_package_dir}")
endif()
if(TARGET culprit)
  # The program, if it has been built. It finds LibTorch where it was built with it.
  set_target_properties(culprit PROPERTIES INSTALL_RPATH_USE_LINK_PATH ON)
  install(TARGETS culprit RUNTIME OPTIONAL)
endif()

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/culpritConfig.cmake.in" "${PROJECT_BINARY_DIR}/culpritConfig.cmake"
  INSTALL_DESTINATION "${culprit_package_dir}")
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/culpritConfigVersion.cmake" COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/culpritConfig.cmake" "${PROJECT_BINARY_DIR}/culpritConfigVersion.cmake"
        DESTINATION "${culprit_package_dir}")

# From the folder of the pkg-config file to the headers, so that the tree can be moved.
set(culprit_pkgconfig_includedir "${CMAKE_INSTALL_INCLUDEDIR}")
cmake_path(RELATIVE_PATH culprit_pkgconfig_includedir BASE_DIRECTORY "${culprit_pkgconfig_dir}")
configure_file("${PROJECT_SOURCE_DIR}/cmake/culprit-core.pc.in" "${PROJECT_BINARY_DIR}/culprit-core.pc" @ONLY)
install(FILES "${PROJECT_BINARY_DIR}/culprit-core.pc" DESTINATION "${culprit_pkgconfig_dir}")
