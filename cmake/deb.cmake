# Debian packages: cafx, cafx-lv2, libcafx-rt1, libcafx-rt-dev. Dependencies are found by dpkg-shlibdeps.
foreach(tool file dpkg-shlibdeps)
  find_program(CAFX_DEB_${tool} ${tool})
  if(NOT CAFX_DEB_${tool})
    message(FATAL_ERROR "Debian packages need '${tool}', which is not there: apt-get install file dpkg-dev")
  endif()
endforeach()
set(CPACK_GENERATOR DEB)
set(CPACK_PACKAGING_INSTALL_PREFIX /usr)
set(CPACK_COMPONENTS_ALL program library headers)
if(CAFX_HAS_LV2)
  list(APPEND CPACK_COMPONENTS_ALL plugin)
endif()
set(CPACK_DEB_COMPONENT_INSTALL ON)
set(CPACK_COMPONENTS_GROUPING IGNORE)
set(CPACK_DEBIAN_ENABLE_COMPONENT_DEPENDS OFF)
set(CPACK_DEBIAN_FILE_NAME DEB-DEFAULT)
# The names of libraries that a package depends on change from one release to the next, so its version names the release.
cmake_host_system_information(RESULT release QUERY DISTRIB_INFO)
set(CPACK_DEBIAN_PACKAGE_RELEASE 1)
if(release_ID STREQUAL "debian")
  string(APPEND CPACK_DEBIAN_PACKAGE_RELEASE "+deb${release_VERSION_ID}")
elseif(release_ID STREQUAL "ubuntu")
  string(APPEND CPACK_DEBIAN_PACKAGE_RELEASE "+ubuntu${release_VERSION_ID}")
endif()
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS ON)
set(CPACK_DEBIAN_PACKAGE_GENERATE_SHLIBS ON)
set(CPACK_DEBIAN_PACKAGE_SHLIBDEPS_PRIVATE_DIRS ${CMAKE_BINARY_DIR}/rt)
set(CPACK_STRIP_FILES ON)

set(CPACK_DEBIAN_PROGRAM_PACKAGE_NAME cafx)
set(CPACK_DEBIAN_PROGRAM_PACKAGE_SECTION sound)
set(CPACK_COMPONENT_PROGRAM_DESCRIPTION "learns an audio effect from recordings of it
cafx hears dry and wet audio of a device (distortion, amplifier, any
chain) and trains a neural model that sounds like it, on the CPU or a GPU.

This package has the program, its manual pages and completion for shells.")

set(CPACK_DEBIAN_LIBRARY_PACKAGE_NAME libcafx-rt1)
set(CPACK_DEBIAN_LIBRARY_PACKAGE_SECTION libs)
set(CPACK_COMPONENT_LIBRARY_DESCRIPTION "plays models of audio effects in real time
libcafx-rt plays a model that cafx has trained, for any sample rate and
block size, without allocation or locks in the audio thread.")

set(CPACK_DEBIAN_HEADERS_PACKAGE_NAME libcafx-rt-dev)
set(CPACK_DEBIAN_HEADERS_PACKAGE_SECTION libdevel)
set(CPACK_DEBIAN_HEADERS_PACKAGE_DEPENDS "libcafx-rt1 (= ${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE})")
set(CPACK_COMPONENT_HEADERS_DESCRIPTION "plays models of audio effects in real time (development)
The header of libcafx-rt, and what CMake and pkg-config need to find it.")

set(CPACK_DEBIAN_PLUGIN_PACKAGE_NAME cafx-lv2)
set(CPACK_DEBIAN_PLUGIN_PACKAGE_SECTION sound)
set(CPACK_COMPONENT_PLUGIN_DESCRIPTION "plays models of audio effects as an LV2 plugin
A host loads a model that cafx has trained into this plugin.")

# What every Debian package has: its copyright and its changelog.
string(TIMESTAMP date "%a, %d %b %Y %H:%M:%S +0000" UTC)
set(documents ${CMAKE_BINARY_DIR}/debian)
file(WRITE ${documents}/changelog
  "cafx (${PROJECT_VERSION}-${CPACK_DEBIAN_PACKAGE_RELEASE}) unstable; urgency=medium\n\n  * Built from its own sources; CHANGELOG.md there tells what is new.\n\n"
  " -- ${CPACK_PACKAGE_CONTACT}  ${date}\n")
execute_process(COMMAND gzip -9nf changelog WORKING_DIRECTORY ${documents} COMMAND_ERROR_IS_FATAL ANY)
file(RENAME ${documents}/changelog.gz ${documents}/changelog.Debian.gz)
file(WRITE ${documents}/copyright
"Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
Upstream-Name: cafx

Files: *
Copyright: 2026 The cafx developers
License: Apache-2.0
 On Debian systems the Apache License 2.0 is in
 /usr/share/common-licenses/Apache-2.0.
")
# The loader's cache is made anew by dpkg's trigger.
file(WRITE ${documents}/triggers "activate-noawait ldconfig\n")
set(CPACK_DEBIAN_LIBRARY_PACKAGE_CONTROL_EXTRA ${documents}/triggers)
foreach(part program:cafx library:libcafx-rt1 headers:libcafx-rt-dev plugin:cafx-lv2)
  string(REPLACE ":" ";" part ${part})
  list(GET part 0 component)
  list(GET part 1 package)
  install(FILES ${documents}/changelog.Debian.gz ${documents}/copyright DESTINATION share/doc/${package} COMPONENT ${component})
endforeach()
