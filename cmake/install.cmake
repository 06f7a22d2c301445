# Where things are installed, and as which components. Read before the folders, which install their parts.
#
#   program   cafx, its manual pages, completion, licences         library  libcafx-rt.so.1
#   plugin    the LV2 plugin                                       headers  what a program needs to be built with libcafx-rt
#   Without CAFX_DEB library and headers are one component, rt, and the plugin is lv2.
include(GNUInstallDirs)
set(CAFX_COMPONENT_LIBRARY rt)
set(CAFX_COMPONENT_HEADERS rt)
set(CAFX_COMPONENT_PLUGIN lv2)
if(CAFX_DEB)
  set(CAFX_COMPONENT_LIBRARY library)
  set(CAFX_COMPONENT_HEADERS headers)
  set(CAFX_COMPONENT_PLUGIN plugin)
endif()
if(CAFX_BUNDLE)
  # A folder that runs wherever it lies. The old kind of path in the program holds for the libraries of its libraries too.
  set(CMAKE_INSTALL_LIBDIR lib)
  set(CMAKE_INSTALL_RPATH "$ORIGIN/../lib")
  add_link_options(-Wl,--disable-new-dtags)
endif()
if(CAFX_BUNDLE OR CAFX_DEB OR CAFX_WHEEL)
  add_compile_options("$<$<COMPILE_LANGUAGE:CXX>:SHELL:-include ${CMAKE_SOURCE_DIR}/cmake/old_symbols.h>")
  add_compile_options(-ffile-prefix-map=${CMAKE_SOURCE_DIR}=.)  # no folder of the machine that built it is in it
endif()
