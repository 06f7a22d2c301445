# Students as .nam files, beside NeuralAmpModelerCore: its output is committed; nam.core makes it anew where
# CAFX_NAM_CORE names a checkout.
add_executable(test_nam nam/test_nam.cpp)
target_link_libraries(test_nam PRIVATE cafx_export cafx_reference GTest::gtest_main)
target_compile_definitions(test_nam PRIVATE CAFX_GOLDEN_DIR="${CMAKE_CURRENT_LIST_DIR}/golden")
gtest_discover_tests(test_nam DISCOVERY_MODE PRE_TEST PROPERTIES LABELS host)
add_executable(nam_write_cases nam/write_cases.cpp)
target_link_libraries(nam_write_cases PRIVATE cafx_export)
add_test(NAME nam.core COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/nam/core.sh $<TARGET_FILE:nam_write_cases>
                               ${CMAKE_CURRENT_LIST_DIR}/golden/nam.safetensors)
set_tests_properties(nam.core PROPERTIES LABELS host TIMEOUT 900 SKIP_RETURN_CODE 77)
