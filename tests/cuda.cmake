# Training on a GPU, or on the virtual one; skipped, with the reason, where there is neither.
if(CAFX_HAS_CUDA)
  add_executable(test_cuda_training ${CMAKE_CURRENT_LIST_DIR}/cuda/test_training.cpp)
  target_link_libraries(test_cuda_training PRIVATE cafx_host cafx_reference cafx_managed GTest::gtest_main ${CMAKE_DL_LIBS})
  cafx_gpu_test(test_cuda_training TEST_FILTER "-*SteadyState*")
  # Counted by the virtual GPU, which is told so before the program starts.
  add_test(NAME cuda.CudaTraining.AStepInTheSteadyStateIsOneCall
           COMMAND test_cuda_training --gtest_filter=*SteadyState*)
  set_tests_properties(cuda.CudaTraining.AStepInTheSteadyStateIsOneCall PROPERTIES
    LABELS gpu ENVIRONMENT "CAFX_TEST_DEVICE=cuda;VGPU_PROFILE=/dev/null" RUN_SERIAL ON
    SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
  add_test(NAME cuda.cli COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/cuda.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda.cli PROPERTIES LABELS gpu RUN_SERIAL ON TIMEOUT 900 SKIP_RETURN_CODE 77)
endif()
