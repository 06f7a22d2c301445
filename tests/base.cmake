add_executable(test_base
  base/test_base.cpp
  base/test_profile.cpp
  base/test_describe.cpp
  base/test_knobs.cpp
  base/test_mutations.cpp
  base/test_safetensors.cpp
)
target_link_libraries(test_base PRIVATE cafx_host GTest::gtest_main)
gtest_discover_tests(test_base DISCOVERY_MODE PRE_TEST PROPERTIES LABELS base)

option(CAFX_FUZZERS "libFuzzer binaries of the parsers (clang only)" OFF)
if(CAFX_FUZZERS)
  if(NOT CMAKE_CXX_COMPILER_ID STREQUAL "Clang")
    message(FATAL_ERROR "CAFX_FUZZERS=ON: libFuzzer comes with clang; configure with -DCMAKE_CXX_COMPILER=clang++")
  endif()
  # What the parsers do must be seen, or the fuzzer is blind.
  foreach(seen cafx_base cafx_datasets cafx_models cafx_host)
    target_compile_options(${seen} PRIVATE -fsanitize=fuzzer-no-link)
  endforeach()
  foreach(entry fuzz_safetensors fuzz_toml fuzz_config_json fuzz_idmt_name)
    add_executable(${entry} fuzz/fuzz.cpp)
    target_compile_definitions(${entry} PRIVATE CAFX_FUZZ=${entry})
    target_compile_options(${entry} PRIVATE -fsanitize=fuzzer)
    target_link_options(${entry} PRIVATE -fsanitize=fuzzer)
    target_link_libraries(${entry} PRIVATE cafx_host)
  endforeach()
  add_executable(fuzz_audio fuzz/fuzz_audio.cpp)
  target_compile_options(fuzz_audio PRIVATE -fsanitize=fuzzer)
  target_link_options(fuzz_audio PRIVATE -fsanitize=fuzzer)
  target_link_libraries(fuzz_audio PRIVATE cafx_datasets PkgConfig::SNDFILE)
endif()
