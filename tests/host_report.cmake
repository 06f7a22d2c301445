# The page about a run.
add_executable(test_report host/test_events.cpp host/test_report.cpp)
target_link_libraries(test_report PRIVATE cafx_host GTest::gtest_main)
gtest_discover_tests(test_report DISCOVERY_MODE PRE_TEST PROPERTIES LABELS host)
# Event files, read by TensorBoard; 20 s.
add_test(NAME python.tensorboard COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/python/tensorboard.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR}
                                         ${CMAKE_BINARY_DIR}/venv-tensorboard)
set_tests_properties(python.tensorboard PROPERTIES LABELS cli TIMEOUT 600 SKIP_RETURN_CODE 77)
