# Chains of SoX effects against the sox program, and the doctor on the shipped notes with planted defects.
set(datasets_dir ${CMAKE_CURRENT_LIST_DIR}/datasets)

function(cafx_datasets_test name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE cafx_datasets GTest::gtest_main)
  target_compile_definitions(${name} PRIVATE CAFX_NOTES_DIR="${CMAKE_SOURCE_DIR}/datasets/notes")
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES LABELS datasets)
endfunction()

cafx_datasets_test(test_effects ${datasets_dir}/test_effects.cpp)
target_link_libraries(test_effects PRIVATE PkgConfig::SNDFILE)
cafx_datasets_test(test_check ${datasets_dir}/test_check.cpp)
cafx_datasets_test(test_dataset ${datasets_dir}/test_dataset.cpp)
cafx_datasets_test(test_audio_files ${datasets_dir}/test_audio_files.cpp)
target_link_libraries(test_audio_files PRIVATE PkgConfig::SNDFILE)
