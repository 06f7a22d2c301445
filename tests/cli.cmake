find_program(CAFX_PYTHON NAMES /usr/bin/python3 python3)
add_test(NAME cli.bad_input COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/bad_input.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
add_test(NAME cli.kill_resume
         COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/kill_resume.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR} 12)
add_test(NAME cli.kill_resume_many
         COMMAND bash ${CMAKE_CURRENT_LIST_DIR}/cli/kill_resume.sh $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR} 200)
add_test(NAME python.numpy_forward
         COMMAND ${CAFX_PYTHON} ${CMAKE_CURRENT_LIST_DIR}/python/numpy_forward.py $<TARGET_FILE:cafx> ${CMAKE_SOURCE_DIR})
set_tests_properties(cli.bad_input cli.kill_resume python.numpy_forward PROPERTIES LABELS cli TIMEOUT 600
                     SKIP_RETURN_CODE 77)
set_tests_properties(cli.kill_resume_many PROPERTIES LABELS slow TIMEOUT 3600)
