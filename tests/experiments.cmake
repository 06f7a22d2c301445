# `cafx reproduce`.
add_executable(test_paper paper/test_paper.cpp)
target_link_libraries(test_paper PRIVATE cafx_paper GTest::gtest_main)
gtest_discover_tests(test_paper DISCOVERY_MODE PRE_TEST PROPERTIES LABELS paper)
# With a page opened in Chromium, where there is one. Half a minute.
add_test(NAME cli.reproduce COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/reproduce.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
set_tests_properties(cli.reproduce PROPERTIES LABELS cli TIMEOUT 600 SKIP_RETURN_CODE 77)
# Its comparisons, from runs that were trained in another place. 40 s.
add_test(NAME cli.reproduce_tables COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/reproduce_tables.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
set_tests_properties(cli.reproduce_tables PROPERTIES LABELS cli TIMEOUT 600)
# `cafx reproduce eq`: the measured response, and the whole command at a tiny size. 20 s.
add_executable(test_eq eq/test_response.cpp)
target_link_libraries(test_eq PRIVATE cafx_eq GTest::gtest_main)
gtest_discover_tests(test_eq DISCOVERY_MODE PRE_TEST PROPERTIES LABELS eq)
add_test(NAME cli.reproduce_eq COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/reproduce_eq.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
set_tests_properties(cli.reproduce_eq PROPERTIES LABELS cli TIMEOUT 600)
