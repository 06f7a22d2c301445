add_executable(test_host
  host/test_auto_preset.cpp
  host/test_baseline.cpp
  host/test_figure.cpp
  host/test_metrics.cpp
  host/test_metrics_golden.cpp
  host/test_model_file.cpp
  host/test_render.cpp
)
target_link_libraries(test_host PRIVATE cafx_host GTest::gtest_main)
target_compile_definitions(test_host PRIVATE CAFX_GOLDEN_DIR="${CMAKE_CURRENT_LIST_DIR}/golden")
gtest_discover_tests(test_host DISCOVERY_MODE PRE_TEST PROPERTIES LABELS host)

# A program of its own: it counts every call of malloc.
add_executable(test_stream host/test_stream.cpp)
target_link_libraries(test_stream PRIVATE cafx_render GTest::gtest_main)
gtest_discover_tests(test_stream DISCOVERY_MODE PRE_TEST PROPERTIES LABELS host)

add_executable(test_foreign host/test_foreign.cpp)
target_link_libraries(test_foreign PRIVATE cafx_host GTest::gtest_main)
gtest_discover_tests(test_foreign DISCOVERY_MODE PRE_TEST PROPERTIES LABELS host)
