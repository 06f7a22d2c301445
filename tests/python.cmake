# The Python module over this build's program and player, by pytest; its notebook, executed by nbclient. A minute.
set(python_build ${CMAKE_COMMAND} -E env CAFX_PROGRAM=$<TARGET_FILE:cafx> CAFX_PLAYER=$<TARGET_FILE:cafx_player>)
add_test(NAME python.module COMMAND ${python_build} bash ${CMAKE_CURRENT_LIST_DIR}/python/module.sh ${CAFX_PYTHON} ${CMAKE_SOURCE_DIR}/python)
add_test(NAME python.notebook COMMAND ${python_build} bash ${CMAKE_CURRENT_LIST_DIR}/python/notebook.sh ${CAFX_PYTHON}
                                      ${CMAKE_SOURCE_DIR}/python)
set_tests_properties(python.module python.notebook PROPERTIES LABELS cli TIMEOUT 600 SKIP_RETURN_CODE 77)
# The experiments' own Python, small. A minute.
foreach(what field tonetwist)
  add_test(NAME python.${what}
           COMMAND ${CMAKE_COMMAND} -E env CAFX_PROGRAM=$<TARGET_FILE:cafx> bash ${CMAKE_CURRENT_LIST_DIR}/experiments/run.sh ${CAFX_PYTHON}
                   ${CMAKE_CURRENT_LIST_DIR}/experiments/test_${what}.py)
  set_tests_properties(python.${what} PROPERTIES LABELS cli TIMEOUT 600 SKIP_RETURN_CODE 77)
endforeach()
