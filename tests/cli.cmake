find_program(CAFX_PYTHON NAMES /usr/bin/python3 python3)
add_test(NAME cli.bad_input COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/bad_input.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
add_test(NAME cli.render_stream
         COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/render_stream.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
add_test(NAME cli.seeds COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/seeds.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
add_test(NAME cli.full_band COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/full_band.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
add_test(NAME cli.distill COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/distill.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
add_test(NAME cli.kill_resume
         COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/kill_resume.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR} 12)
add_test(NAME cli.kill_resume_lstm
         COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/kill_resume.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR} 6 lstm-nano)
add_test(NAME cli.kill_resume_many
         COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/kill_resume.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR} 200)
add_test(NAME python.numpy_forward
         COMMAND ${CAFX_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/python/numpy_forward.py $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
foreach(what numpy torch exchange)
  add_test(NAME python.loader_${what}
           COMMAND ${CAFX_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/python/loader.py ${what} $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
endforeach()
set_tests_properties(cli.bad_input cli.seeds cli.full_band cli.distill cli.render_stream cli.kill_resume cli.kill_resume_lstm python.numpy_forward python.loader_numpy python.loader_torch
                     python.loader_exchange PROPERTIES LABELS cli TIMEOUT 600 SKIP_RETURN_CODE 77)
if(CAFX_HAS_ONNX)
  add_test(NAME python.onnx COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/python/onnx.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR}
                                    ${CMAKE_BINARY_DIR}/venv-onnx)
  set_tests_properties(python.onnx PROPERTIES LABELS cli TIMEOUT 600 SKIP_RETURN_CODE 77)
endif()
set_tests_properties(cli.kill_resume_many PROPERTIES LABELS slow TIMEOUT 3600)
foreach(what auto_preset hostile knobs layouts sweep_tables)
  add_test(NAME cli.${what} COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/${what}.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
  set_tests_properties(cli.${what} PROPERTIES LABELS cli TIMEOUT 600 SKIP_RETURN_CODE 77)
endforeach()
add_test(NAME cli.completion COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/completion.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
set_tests_properties(cli.completion PROPERTIES LABELS cli TIMEOUT 120)
