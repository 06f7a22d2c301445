# The oracle, and every op of kernels/ against it, on every instruction set of this build and this processor.
add_library(cafx_reference STATIC ${CMAKE_CURRENT_LIST_DIR}/reference/reference.cpp
                                  ${CMAKE_CURRENT_LIST_DIR}/reference/reference_cafx.cpp
                                  ${CMAKE_CURRENT_LIST_DIR}/reference/reference_loss.cpp
                                  ${CMAKE_CURRENT_LIST_DIR}/reference/reference_ssm.cpp
                                  ${CMAKE_CURRENT_LIST_DIR}/reference/reference_student.cpp
                                  ${CMAKE_CURRENT_LIST_DIR}/reference/reference_training.cpp)
target_link_libraries(cafx_reference PUBLIC cafx_models)

add_library(cafx_managed OBJECT ${CMAKE_CURRENT_LIST_DIR}/ops/managed.cpp)
target_link_libraries(cafx_managed PRIVATE cafx_kernels GTest::gtest)
if(CAFX_HAS_CUDA)
  target_link_libraries(cafx_managed PRIVATE ${CAFX_CUDART})
endif()

set(ops_dir ${CMAKE_CURRENT_LIST_DIR}/ops)
set(models_dir ${CMAKE_CURRENT_LIST_DIR}/models)

function(cafx_ops_test name)
  add_executable(${name} ${ARGN})
  target_link_libraries(${name} PRIVATE cafx_reference cafx_managed GTest::gtest_main)
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST PROPERTIES LABELS ops)
endfunction()

# All that tests labelled gpu need, and nothing else.
if(CAFX_HAS_CUDA)
  add_custom_target(gpu_tests)
endif()

# The same binary once more on the GPU; skipped, with the reason, where there is none.
function(cafx_gpu_test name)
  if(NOT CAFX_HAS_CUDA)
    return()
  endif()
  add_dependencies(gpu_tests ${name})
  gtest_discover_tests(${name} DISCOVERY_MODE PRE_TEST TEST_PREFIX cuda. TEST_LIST ${name}_cuda ${ARGN}
    PROPERTIES LABELS gpu ENVIRONMENT CAFX_TEST_DEVICE=cuda RUN_SERIAL ON
               SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]" TIMEOUT 900)
endfunction()

cafx_ops_test(test_reference ${ops_dir}/test_reference_gradients.cpp)
cafx_ops_test(test_ops
  ${ops_dir}/test_conv1d.cpp
  ${ops_dir}/test_context.cpp
  ${ops_dir}/test_deconv1d.cpp
  ${ops_dir}/test_dense.cpp
  ${ops_dir}/test_dnn_saaf.cpp
  ${ops_dir}/test_frames.cpp
  ${ops_dir}/test_dropout.cpp
  ${ops_dir}/test_front_end.cpp
  ${ops_dir}/test_harness.cpp
  ${ops_dir}/test_latent.cpp
  ${ops_dir}/test_local_conv.cpp
  ${ops_dir}/test_local_dense.cpp
  ${ops_dir}/test_optimizer.cpp
  ${ops_dir}/test_pointwise.cpp
  ${ops_dir}/test_pool.cpp
  ${ops_dir}/test_saaf.cpp
)

cafx_gpu_test(test_ops TEST_FILTER "-*Refuse*:Context.*:Harness.*:*Thread*")

# What tf32, bf16 and fp16 do to ops and to training. About 1 s.
cafx_ops_test(test_precision ${ops_dir}/test_precision.cpp ${ops_dir}/test_precision_ops.cpp
              ${ops_dir}/test_rounding.cpp ${models_dir}/test_precision_training.cpp)
target_link_libraries(test_precision PRIVATE cafx_host)
cafx_gpu_test(test_precision TEST_FILTER "Precision.Dnn*:Precision.Frames*:Precision.Te*:Precision.Unpool*:Precision.A*:Precision.Fp16*")
# The virtual GPU once more as a Hopper, whose shared memory some kernels need; a real GPU is what it is.
if(CAFX_HAS_CUDA)
  add_test(NAME cuda.Precision.DnnSaafOnHopper COMMAND test_precision --gtest_filter=Precision.Dnn*)
  set_tests_properties(cuda.Precision.DnnSaafOnHopper PROPERTIES
    LABELS gpu ENVIRONMENT "CAFX_TEST_DEVICE=cuda;VGPU_ARCH=90" RUN_SERIAL ON TIMEOUT 900
    SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
endif()

# What models with memory stand on. A few seconds.
cafx_ops_test(test_student_ops
  ${ops_dir}/test_bilstm.cpp
  ${ops_dir}/test_conv1x1.cpp
  ${ops_dir}/test_lstm.cpp
  ${ops_dir}/test_lstm_play.cpp
  ${ops_dir}/test_squeeze_excite.cpp
  ${ops_dir}/test_transpose.cpp
  ${ops_dir}/test_wavenet_layer.cpp
)

# What S4 stands on. A few seconds.
cafx_ops_test(test_ssm_ops ${ops_dir}/test_film.cpp ${ops_dir}/test_film_fold.cpp ${ops_dir}/test_ssm.cpp)
cafx_gpu_test(test_ssm_ops TEST_FILTER "-*Refuse*:*Differences*:*Formula*:*Plays*")

cafx_gpu_test(test_student_ops TEST_FILTER "-*Refuse*:*Differences*:LstmPlay.*")

function(cafx_golden_test name models)
  cafx_ops_test(${name} ${ARGN})
  target_compile_definitions(${name} PRIVATE CAFX_GOLDEN_DIR="${CMAKE_CURRENT_FUNCTION_LIST_DIR}/golden")
  target_link_libraries(${name} PRIVATE ${models})
endfunction()

cafx_golden_test(test_golden_ops cafx_kernels ${ops_dir}/test_golden_ops.cpp)
cafx_golden_test(test_loss cafx_kernels ${ops_dir}/test_loss.cpp)
cafx_golden_test(test_golden_model cafx_models ${models_dir}/test_golden_cafx.cpp ${models_dir}/test_golden_crafx.cpp)
cafx_golden_test(test_golden_streams cafx_models ${models_dir}/test_golden_s4.cpp ${models_dir}/test_golden_streams.cpp)
cafx_gpu_test(test_golden_ops)
cafx_gpu_test(test_loss TEST_FILTER "-*Refuse*:*Differences*")
cafx_gpu_test(test_golden_streams TEST_FILTER "-*Thread*:*Divided*")
cafx_gpu_test(test_golden_model TEST_FILTER "-*Thread*:*InstructionSet*:*Preset*:*Projection*")
# A stream's work as late as its order allows, the youngest stream first: what runs aside is waited for.
if(CAFX_HAS_CUDA)
  add_test(NAME cuda.GoldenModel.WhereWorkIsDoneLate COMMAND test_golden_model --gtest_filter=GoldenModel.*)
  set_tests_properties(cuda.GoldenModel.WhereWorkIsDoneLate PROPERTIES
    LABELS gpu ENVIRONMENT "CAFX_TEST_DEVICE=cuda;VGPU_LAZY=1" RUN_SERIAL ON TIMEOUT 900
    SKIP_REGULAR_EXPRESSION "\\[  SKIPPED \\]")
endif()
