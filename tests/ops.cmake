# The oracle, and every op of kernels/ against it, on every instruction set of this build and this processor.
add_library(cafx_reference STATIC ${CMAKE_CURRENT_LIST_DIR}/reference/reference.cpp
                                  ${CMAKE_CURRENT_LIST_DIR}/reference/reference_cafx.cpp)
target_link_libraries(cafx_reference PUBLIC cafx_kernels)

set(ops_dir ${CMAKE_CURRENT_LIST_DIR}/ops)

function(cafx_ops_test name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE cafx_reference GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES LABELS ops)
endfunction()

cafx_ops_test(test_reference ${ops_dir}/test_reference_gradients.cpp)
cafx_ops_test(test_ops
  ${ops_dir}/test_conv1d.cpp
  ${ops_dir}/test_context.cpp
  ${ops_dir}/test_deconv1d.cpp
  ${ops_dir}/test_dense.cpp
  ${ops_dir}/test_dnn_saaf.cpp
  ${ops_dir}/test_frames.cpp
  ${ops_dir}/test_front_end.cpp
  ${ops_dir}/test_local_conv.cpp
  ${ops_dir}/test_local_dense.cpp
  ${ops_dir}/test_loss.cpp
  ${ops_dir}/test_optimizer.cpp
  ${ops_dir}/test_pointwise.cpp
  ${ops_dir}/test_pool.cpp
  ${ops_dir}/test_saaf.cpp
)

function(cafx_golden_test name models)
  cafx_ops_test(${name} ${ARGN})
  target_compile_definitions(${name} PRIVATE CAFX_GOLDEN_DIR="${CMAKE_CURRENT_FUNCTION_LIST_DIR}/golden")
  target_link_libraries(${name} PRIVATE ${models})
endfunction()

cafx_golden_test(test_golden_ops cafx_kernels ${ops_dir}/test_golden_ops.cpp)
cafx_golden_test(test_golden_model cafx_models ${ops_dir}/test_golden_model.cpp)
