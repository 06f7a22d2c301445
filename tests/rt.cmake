# A program of its own: it counts every call of malloc and every lock.
add_executable(test_rt rt/test_rt.cpp)
target_link_libraries(test_rt PRIVATE cafx_rt_core cafx_host GTest::gtest_main ${CMAKE_DL_LIBS})
gtest_discover_tests(test_rt DISCOVERY_MODE PRE_TEST PROPERTIES LABELS rt)

# Installed, then found by projects outside of the tree, by CMake and by pkg-config (10 s).
add_test(NAME cli.rt_install COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/rt/install.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR}
                                     ${CMAKE_BINARY_DIR} ${CAFX_PYTHON})
set_tests_properties(cli.rt_install PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77)
