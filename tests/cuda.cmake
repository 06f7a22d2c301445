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
  # Side by side on one GPU.
  add_test(NAME cuda.Cohorts COMMAND test_train --gtest_filter=*Cohorts*)
  set_tests_properties(cuda.Cohorts PROPERTIES LABELS gpu ENVIRONMENT CAFX_TEST_DEVICE=cuda RUN_SERIAL ON TIMEOUT 1800
    SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
  # Several: the virtual GPU shows four; of real ones as many as there are.
  add_executable(test_gpus ${CMAKE_CURRENT_LIST_DIR}/cuda/test_gpus.cpp)
  target_link_libraries(test_gpus PRIVATE cafx_host cafx_reference cafx_managed GTest::gtest_main)
  add_dependencies(gpu_tests cafx test_gpus)
  add_test(NAME cuda.Gpus COMMAND test_gpus --gtest_filter=-*IsLost*:*SteadyState*)
  add_test(NAME cuda.Gpus.WhereWorkIsDoneLate COMMAND test_gpus --gtest_filter=*TwoRuns*)
  add_test(NAME cuda.Gpus.AStepIsOneCall COMMAND test_gpus --gtest_filter=*SteadyState*)
  add_test(NAME cuda.Gpus.OneThatIsLost COMMAND test_gpus --gtest_filter=*IsLost*)
  foreach(test "cuda.Gpus@VGPU_DEVICES=4,VGPU_TIMEOUT=60" "cuda.Gpus.WhereWorkIsDoneLate@VGPU_DEVICES=2,VGPU_LAZY=1,VGPU_TIMEOUT=60"
               "cuda.Gpus.AStepIsOneCall@VGPU_DEVICES=2,VGPU_PROFILE=/dev/null,VGPU_TIMEOUT=60"
               "cuda.Gpus.OneThatIsLost@VGPU_DEVICES=2,VGPU_NOFAIL=1,VGPU_TIMEOUT=3")
    string(REPLACE "@" ";" test "${test}")
    list(GET test 0 name)
    list(GET test 1 environment)
    string(REPLACE "," ";" environment "CAFX_TEST_DEVICE=cuda,${environment}")
    set_tests_properties(${name} PROPERTIES LABELS gpu RUN_SERIAL ON TIMEOUT 900 ENVIRONMENT "${environment}"
      SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
  endforeach()
  add_test(NAME cuda.cli_gpus COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/cuda_gpus.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda.cli_gpus PROPERTIES LABELS gpu RUN_SERIAL ON TIMEOUT 900 SKIP_RETURN_CODE 77)
  if(CMAKE_CUDA_RUNTIME_LIBRARY STREQUAL "Shared")  # calls of a runtime that is linked in cannot be made to fail
    add_library(failing_gpu SHARED ${CMAKE_CURRENT_LIST_DIR}/cuda/failing_gpu.cpp)
    target_include_directories(failing_gpu SYSTEM PRIVATE ${CUDAToolkit_INCLUDE_DIRS} ${CAFX_CUDNN_INCLUDE})
    target_link_libraries(failing_gpu PRIVATE ${CMAKE_DL_LIBS})
    add_dependencies(gpu_tests failing_gpu)
    add_test(NAME cuda.cli_errors COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/cuda_errors.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR}
                                          $<TARGET_FILE:failing_gpu>)
    set_tests_properties(cuda.cli_errors PROPERTIES LABELS gpu RUN_SERIAL ON TIMEOUT 900 SKIP_RETURN_CODE 77)
  endif()
  add_test(NAME cuda.cli_streams COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/cuda_streams.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda.cli_streams PROPERTIES LABELS gpu RUN_SERIAL ON TIMEOUT 900 SKIP_RETURN_CODE 77)
  add_test(NAME cuda.cli_steps COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/cuda_steps.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda.cli_steps PROPERTIES LABELS gpu RUN_SERIAL ON TIMEOUT 1800 SKIP_RETURN_CODE 77)
  add_test(NAME cuda.cli_counts COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/cuda_counts.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda.cli_counts PROPERTIES LABELS gpu RUN_SERIAL ON TIMEOUT 1800 SKIP_RETURN_CODE 77)
  add_test(NAME cuda.cli COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/cuda.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
  set_tests_properties(cuda.cli PROPERTIES LABELS gpu RUN_SERIAL ON TIMEOUT 900 SKIP_RETURN_CODE 77)
endif()
