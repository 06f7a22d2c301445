# The scheduler of sweeps.
add_executable(test_sweep
  sweep/test_cohort_sizes.cpp
  sweep/test_lease.cpp
  sweep/test_page.cpp
  sweep/test_scheduler.cpp
  sweep/test_search.cpp
  sweep/test_simulate.cpp
  sweep/test_slurm.cpp
  sweep/test_spec.cpp
)
target_link_libraries(test_sweep PRIVATE cafx_host GTest::gtest_main)
gtest_discover_tests(test_sweep DISCOVERY_MODE PRE_TEST PROPERTIES LABELS sweep)
add_test(NAME sweep.paths COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/sweep.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
add_test(NAME sweep.kill COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/sweep_kill.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR} 24 20)
add_test(NAME sweep.kill_cohorts
         COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/sweep_kill.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR} 24 20 4)
add_test(NAME sweep.kill_many
         COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/sweep_kill.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR} 64 200)
foreach(name sweep_search sweep_disk sweep_guards sweep_types train_json)
  add_test(NAME sweep.${name} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/${name}.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
  set_tests_properties(sweep.${name} PROPERTIES LABELS cli TIMEOUT 300 SKIP_RETURN_CODE 77)
endforeach()
set_tests_properties(sweep.paths sweep.kill sweep.kill_cohorts PROPERTIES LABELS cli TIMEOUT 600)
set_tests_properties(sweep.kill_many PROPERTIES LABELS slow TIMEOUT 3600)
add_test(NAME sweep.slurm_scripts COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/slurm_scripts.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
set_tests_properties(sweep.slurm_scripts PROPERTIES LABELS cli TIMEOUT 120)
add_test(NAME sweep.slurm COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/slurm.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
set_tests_properties(sweep.slurm PROPERTIES LABELS slow TIMEOUT 1500 SKIP_RETURN_CODE 77)
# The live table on a pseudo-terminal; 20 s.
add_test(NAME sweep.status_pty COMMAND ${CAFX_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/cli/status_pty.py $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
set_tests_properties(sweep.status_pty PROPERTIES LABELS cli TIMEOUT 600 SKIP_RETURN_CODE 77)
