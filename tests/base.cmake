add_executable(test_base
  base/test_base.cpp
  base/test_describe.cpp
  base/test_mutations.cpp
  base/test_safetensors.cpp
)
target_link_libraries(test_base PRIVATE cafx_host GTest::gtest_main)
gtest_discover_tests(test_base DISCOVERY_MODE PRE_TEST PROPERTIES LABELS base)

option(CAFX_FUZZERS "libFuzzer binaries of the parsers (clang only)" OFF)
if(CAFX_FUZZERS)
  foreach(entry fuzz_safetensors fuzz_toml fuzz_idmt_name)
    add_executable(${entry} fuzz/fuzz.cpp)
    target_compile_definitions(${entry} PRIVATE CAFX_FUZZ=${entry})
    target_compile_options(${entry} PRIVATE -fsanitize=fuzzer)
    target_link_options(${entry} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${entry} PRIVATE cafx_host)
  endforeach()
endif()
