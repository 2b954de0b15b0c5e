# SPDX-License-Identifier: MIT
include(CMakePackageConfigHelpers)
include(GNUInstallDirs)

set(culprit_package_dir "${CMAKE_INSTALL_DATADIR}/cmake/culprit")

install(DIRECTORY "${PROJECT_SOURCE_DIR}/include/culprit" DESTINATION "${CMAKE_INSTALL_INCLUDEDIR}")
install(FILES "${PROJECT_SOURCE_DIR}/LICENSE" DESTINATION "${CMAKE_INSTALL_DOCDIR}")

install(TARGETS culprit_core EXPORT culpritCore)
install(EXPORT culpritCore NAMESPACE culprit:: FILE culpritCoreTargets.cmake DESTINATION "${culprit_package_dir}")
if(CULPRIT_WITH_TORCH)
  install(TARGETS culprit_library EXPORT culpritLibrary)
  install(EXPORT culpritLibrary NAMESPACE culprit:: FILE culpritLibraryTargets.cmake
          DESTINATION "${culprit_package_dir}")
  install(FILES "${PROJECT_SOURCE_DIR}/cmake/FindLibTorch.cmake" DESTINATION "${culprit_package_dir}")
endif()

configure_package_config_file(
  "${PROJECT_SOURCE_DIR}/cmake/culpritConfig.cmake.in" "${PROJECT_BINARY_DIR}/culpritConfig.cmake"
  INSTALL_DESTINATION "${culprit_package_dir}")
write_basic_package_version_file(
  "${PROJECT_BINARY_DIR}/culpritConfigVersion.cmake" COMPATIBILITY SameMinorVersion ARCH_INDEPENDENT)
install(FILES "${PROJECT_BINARY_DIR}/culpritConfig.cmake" "${PROJECT_BINARY_DIR}/culpritConfigVersion.cmake"
        DESTINATION "${culprit_package_dir}")
