# The page about a run.
add_executable(test_report host/test_report.cpp)
target_link_libraries(test_report PRIVATE cafx_host GTest::gtest_main)
gtest_discover_tests(test_report DISCOVERY_MODE PRE_TEST PROPERTIES LABELS host)
