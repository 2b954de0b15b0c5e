# SPDX-License-Identifier: MIT
#
# cmake -DSOURCE=DIR -DWORK=DIR -P port.cmake: runs the overlay port's portfile as vcpkg does, with vcpkg's functions in
# the few lines that matter here, into WORK/packages, and checks what vcpkg checks: which files are where.
cmake_minimum_required(VERSION 3.25)

set(PORT culprit)
set(FEATURES core)
set(VCPKG_TARGET_IS_LINUX TRUE)
set(port_dir "${SOURCE}/cmake/vcpkg/ports/culprit")
set(CURRENT_PACKAGES_DIR "${WORK}/packages")
set(build_dir "${WORK}/build")
file(REMOVE_RECURSE "${WORK}")

function(vcpkg_check_features)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "OUT_FEATURE_OPTIONS" "FEATURES")
  set(options)
  while(arg_FEATURES)
    list(POP_FRONT arg_FEATURES feature option)
    if(feature IN_LIST FEATURES)
      list(APPEND options "-D${option}=ON")
    else()
      list(APPEND options "-D${option}=OFF")
    endif()
  endwhile()
  set("${arg_OUT_FEATURE_OPTIONS}" "${options}" PARENT_SCOPE)
endfunction()

function(vcpkg_cmake_configure)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "SOURCE_PATH" "OPTIONS")
  execute_process(
    COMMAND "${CMAKE_COMMAND}" -S "${arg_SOURCE_PATH}" -B "${build_dir}" -G Ninja ${arg_OPTIONS}
            -DCMAKE_BUILD_TYPE=Release "-DCMAKE_INSTALL_PREFIX=${CURRENT_PACKAGES_DIR}"
            -DCMAKE_ERROR_ON_ABSOLUTE_INSTALL_DESTINATION=ON -DBUILD_SHARED_LIBS=OFF
    COMMAND_ERROR_IS_FATAL ANY OUTPUT_QUIET)
endfunction()

function(vcpkg_cmake_install)
  execute_process(COMMAND "${CMAKE_COMMAND}" --build "${build_dir}" --target install COMMAND_ERROR_IS_FATAL ANY
                  OUTPUT_QUIET)
endfunction()

# Moves the package to share/PORT, which is one folder less deep than it was, and tells its files so.
function(vcpkg_cmake_config_fixup)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "CONFIG_PATH" "")
  file(RENAME "${CURRENT_PACKAGES_DIR}/${arg_CONFIG_PATH}" "${CURRENT_PACKAGES_DIR}/share/${PORT}")
  file(REMOVE_RECURSE "${CURRENT_PACKAGES_DIR}/share/cmake")
  file(GLOB files "${CURRENT_PACKAGES_DIR}/share/${PORT}/*.cmake")
  foreach(file IN LISTS files)
    file(READ "${file}" text)
    set(up "get_filename_component(_IMPORT_PREFIX \"\${_IMPORT_PREFIX}\" PATH)\n")
    string(REPLACE "${up}${up}${up}" "${up}${up}" text "${text}")
    string(REPLACE "\${CMAKE_CURRENT_LIST_DIR}/../../../" "\${CMAKE_CURRENT_LIST_DIR}/../../" text "${text}")
    file(WRITE "${file}" "${text}")
  endforeach()
endfunction()

# The paths in ours begin with pcfiledir, so that vcpkg finds nothing to do.
function(vcpkg_fixup_pkgconfig)
  file(GLOB files "${CURRENT_PACKAGES_DIR}/share/pkgconfig/*.pc")
  foreach(file IN LISTS files)
    file(STRINGS "${file}" lines REGEX "${CURRENT_PACKAGES_DIR}")
    if(lines)
      message(FATAL_ERROR "${file}: ${lines}")
    endif()
  endforeach()
endfunction()

function(vcpkg_install_copyright)
  cmake_parse_arguments(PARSE_ARGV 0 arg "" "" "FILE_LIST")
  file(INSTALL ${arg_FILE_LIST} DESTINATION "${CURRENT_PACKAGES_DIR}/share/${PORT}" RENAME copyright)
endfunction()

include("${port_dir}/portfile.cmake")

# What vcpkg expects of a port of headers: include/ and share/PORT with copyright, usage and the package's files.
file(GLOB_RECURSE came RELATIVE "${CURRENT_PACKAGES_DIR}" LIST_DIRECTORIES TRUE "${CURRENT_PACKAGES_DIR}/*")
list(FILTER came EXCLUDE REGEX "^include/culprit/.")
list(SORT came)
set(expected
    include
    include/culprit
    share
    share/culprit
    share/culprit/FindLibTorch.cmake
    share/culprit/copyright
    share/culprit/culpritConfig.cmake
    share/culprit/culpritConfigVersion.cmake
    share/culprit/culpritCoreTargets.cmake
    share/culprit/culpritLibraryTargets.cmake
    share/culprit/usage
    share/pkgconfig
    share/pkgconfig/culprit-core.pc)
if(NOT "${came}" STREQUAL "${expected}")
  message(FATAL_ERROR "expected the files ${expected}, came ${came}")
endif()

# Both manifests are of this version and say the same of the project.
file(STRINGS "${SOURCE}/include/culprit/version.hpp" version REGEX "version = \"")
string(REGEX MATCH "[0-9]+\\.[0-9]+\\.[0-9]+" version "${version}")
file(READ "${port_dir}/vcpkg.json" port)
file(READ "${SOURCE}/vcpkg.json" project)
foreach(manifest IN ITEMS port project)
  foreach(member IN ITEMS name version-semver description license supports)
    string(JSON ${manifest}_${member} GET "${${manifest}}" ${member})
  endforeach()
  if(NOT ${manifest}_version-semver STREQUAL version)
    message(FATAL_ERROR "the ${manifest}'s vcpkg.json: expected version ${version}, came ${${manifest}_version-semver}")
  endif()
endforeach()
foreach(member IN ITEMS name description license supports)
  if(NOT port_${member} STREQUAL project_${member})
    message(FATAL_ERROR "${member}: ${port_${member}} in the port, ${project_${member}} in the project")
  endif()
endforeach()
