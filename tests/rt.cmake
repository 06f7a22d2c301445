# A program of its own: it counts every call of malloc and every lock.
add_executable(test_rt rt/test_rt.cpp)
target_link_libraries(test_rt PRIVATE cafx_rt_core cafx_render cafx_datasets GTest::gtest_main ${CMAKE_DL_LIBS})
gtest_discover_tests(test_rt DISCOVERY_MODE PRE_TEST PROPERTIES LABELS rt)

# Installed, then found by projects outside of the tree, by CMake and by pkg-config (10 s).
add_test(NAME cli.rt_install COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/rt/install.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR}
                                     ${CMAKE_BINARY_DIR} ${CAFX_PYTHON})
set_tests_properties(cli.rt_install PROPERTIES LABELS cli TIMEOUT 900 SKIP_RETURN_CODE 77)

# The plugin in a host made of lilv, and under LV2's own tools (5 s). Not with sanitizers: lilv keeps memory to the end.
pkg_check_modules(LILV QUIET IMPORTED_TARGET lilv-0)
pkg_check_modules(LV2 QUIET IMPORTED_TARGET lv2)
if(CAFX_HAS_LV2 AND LILV_FOUND AND NOT CAFX_SANITIZE)
  set(slow_bundle ${CMAKE_CURRENT_BINARY_DIR}/slow.lv2)
  add_executable(test_lv2 rt/test_lv2.cpp)
  target_link_libraries(test_lv2 PRIVATE cafx_export cafx_render cafx_datasets cafx_rt_core PkgConfig::LILV GTest::gtest_main ${CMAKE_DL_LIBS})
  target_compile_definitions(test_lv2 PRIVATE CAFX_LV2_BUNDLE="${CMAKE_BINARY_DIR}/rt/lv2/cafx.lv2"
                                               CAFX_SLOW_BUNDLE="${slow_bundle}")
  # The same plugin with a frame's time that the test sets in place of the measured one.
  add_library(cafx_lv2_slow MODULE ${CMAKE_SOURCE_DIR}/rt/lv2/cafx_lv2.cpp rt/slow_frames.cpp)
  target_link_libraries(cafx_lv2_slow PRIVATE cafx_rt_core PkgConfig::LV2)
  target_link_options(cafx_lv2_slow PRIVATE -Wl,--wrap=cafx_rt_frame_seconds
                      -Wl,--version-script=${CMAKE_SOURCE_DIR}/rt/lv2/cafx_lv2.map)
  set_target_properties(cafx_lv2_slow PROPERTIES PREFIX "" OUTPUT_NAME cafx LIBRARY_OUTPUT_DIRECTORY ${slow_bundle}
                                                 CXX_VISIBILITY_PRESET hidden)
  foreach(ttl manifest.ttl cafx.ttl)
    configure_file(${CMAKE_BINARY_DIR}/rt/lv2/cafx.lv2/${ttl} ${slow_bundle}/${ttl} COPYONLY)
  endforeach()
  add_dependencies(test_lv2 cafx_lv2 cafx_lv2_slow)
  gtest_discover_tests(test_lv2 DISCOVERY_MODE PRE_TEST PROPERTIES LABELS rt)
  add_test(NAME cli.lv2_tools COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/rt/lv2_tools.sh ${CMAKE_BINARY_DIR}/rt/lv2/cafx.lv2)
  add_test(NAME cli.lv2_model COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/rt/lv2_model.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR}
                                      ${CMAKE_CURRENT_LIST_DIR}/rt/lv2_tools.sh ${CMAKE_BINARY_DIR}/rt/lv2/cafx.lv2)
  # In jalv on a JACK server without a sound card (12 s).
  add_test(NAME cli.lv2_jalv COMMAND ${CAFX_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/rt/jalv.py $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR}
                                     ${CMAKE_BINARY_DIR}/rt/lv2/cafx.lv2)
  # In Ardour, with a session saved and opened again (20 s).
  add_test(NAME cli.lv2_ardour COMMAND ${CAFX_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/rt/ardour.py $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR}
                                       ${CMAKE_BINARY_DIR}/rt/lv2/cafx.lv2)
  set_tests_properties(cli.lv2_ardour PROPERTIES LABELS slow TIMEOUT 600 SKIP_RETURN_CODE 77)
  set_tests_properties(cli.lv2_tools cli.lv2_model cli.lv2_jalv PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77)
endif()
