# Every type of models/registry.h by its face alone: what a new model is held to without a line of its own but tests/models/tiny.h.
add_executable(test_models ${CMAKE_CURRENT_LIST_DIR}/models/test_models.cpp)
target_link_libraries(test_models PRIVATE cafx_play cafx_reference cafx_managed GTest::gtest_main)
gtest_discover_tests(test_models DISCOVERY_MODE PRE_TEST PROPERTIES LABELS models)
cafx_gpu_test(test_models TEST_FILTER "-*Registry.*")

# A program of its own: it counts every call of malloc and every lock.
add_executable(test_players ${CMAKE_CURRENT_LIST_DIR}/models/test_players.cpp)
target_link_libraries(test_players PRIVATE cafx_render GTest::gtest_main ${CMAKE_DL_LIBS})
gtest_discover_tests(test_players DISCOVERY_MODE PRE_TEST PROPERTIES LABELS models)
