# Archives and Debian packages, by CPack.
#
#   cmake --preset dist && cmake --build --preset dist --target package    cafx-VERSION-linux-x86_64.tar.zst: a folder that runs
#   cmake --preset deb && cmake --build --preset deb --target package      .deb files for the Debian that builds them
#   Both share a build folder with the wheel (python/pyproject.toml), since their objects are the same. The files stand in build/packages.
if(CAFX_BUNDLE)
  # All but the C library and what belongs to it, which every Linux has and which must fit its loader; and CUDA's libraries, which
  # are large and come with a GPU's system.
  install(RUNTIME_DEPENDENCY_SET cafx_libraries
    PRE_EXCLUDE_REGEXES "^ld-linux" "^lib(c|m|dl|rt|pthread|resolv|util|mvec)\\.so" "^lib(cuda|cudnn|cublas|cudart|nccl|nvrtc)"
    LIBRARY DESTINATION lib COMPONENT program)
  install(FILES README.md LICENSE DESTINATION . COMPONENT program)
  install(SCRIPT cmake/licences.cmake COMPONENT program)
endif()
if(CAFX_BUNDLE OR CAFX_DEB)
  set(CPACK_PACKAGE_NAME cafx)
  set(CPACK_PACKAGE_VENDOR "cafx")
  set(CPACK_PACKAGE_CONTACT "The cafx developers <maintainers@cafx.example.org>")
  set(CPACK_PACKAGE_DESCRIPTION_SUMMARY "learns an audio effect from recordings of its input and its output")
  set(CPACK_PACKAGE_DIRECTORY ${CMAKE_SOURCE_DIR}/build/packages)
  set(CPACK_STRIP_FILES ON)
  set(CPACK_MONOLITHIC_INSTALL OFF)
endif()
if(CAFX_BUNDLE)
  set(CPACK_GENERATOR TZST)
  set(CPACK_ARCHIVE_COMPONENT_INSTALL OFF)
  set(cuda "")
  if(CAFX_HAS_CUDA)
    set(cuda "-cuda${CUDAToolkit_VERSION_MAJOR}")
  endif()
  set(CPACK_PACKAGE_FILE_NAME cafx-${PROJECT_VERSION}-linux-${CMAKE_SYSTEM_PROCESSOR}${cuda})
elseif(CAFX_DEB)
  include(cmake/deb.cmake)
endif()
if(CAFX_BUNDLE OR CAFX_DEB)
  include(CPack)
endif()
