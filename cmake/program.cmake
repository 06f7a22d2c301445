# What belongs to the program besides its sources: what --version says, its installation with manual
# pages and completion. Included by host/CMakeLists.txt.
# `cafx --version` tells of the commit and the build; the commit is looked up at each build.
add_custom_target(cafx_commit BYPRODUCTS ${CMAKE_BINARY_DIR}/generated/host/cli/commit.h
  COMMAND ${CMAKE_COMMAND} -DSOURCE=${CMAKE_SOURCE_DIR} -DOUT=${CMAKE_BINARY_DIR}/generated/host/cli/commit.h
          -DWITHOUT_GIT=${CAFX_COMMIT} -P ${CMAKE_SOURCE_DIR}/cmake/commit.cmake VERBATIM)
add_dependencies(cafx cafx_commit)
set(cuda_text "not built in")
if(CAFX_HAS_CUDA)
  list(JOIN CMAKE_CUDA_ARCHITECTURES " " architectures)  # a semicolon would end the definition below
  set(cuda_text "${CUDAToolkit_VERSION}, for ${architectures}")
  if(CAFX_HAS_NCCL)
    string(APPEND cuda_text ", several GPUs by NCCL")
  endif()
endif()
set(onnx_text "not built in")
if(CAFX_HAS_ONNX)
  set(onnx_text "libonnx ${ONNX_VERSION}")
endif()
list(JOIN CAFX_ISA_LIST ", " isa_text)
set_source_files_properties(cli/build_info.cpp PROPERTIES COMPILE_DEFINITIONS
  "CAFX_COMPILER=\"${CMAKE_CXX_COMPILER_ID} ${CMAKE_CXX_COMPILER_VERSION}, ${CMAKE_BUILD_TYPE}, ${CMAKE_SYSTEM_PROCESSOR}\";\
CAFX_ISA_LIST=\"${isa_text}\";CAFX_CUDA_TEXT=\"${cuda_text}\";CAFX_ONNX_TEXT=\"${onnx_text}\"")
if(CAFX_BUNDLE)
  install(TARGETS cafx RUNTIME_DEPENDENCY_SET cafx_libraries COMPONENT program)
else()
  install(TARGETS cafx COMPONENT program)
endif()

# Manual pages and completion, made by the program that they describe.
set(described ${CMAKE_CURRENT_BINARY_DIR}/described)
add_custom_command(OUTPUT ${described}/stamp DEPENDS cafx
  COMMAND ${CMAKE_COMMAND} -E make_directory ${described}
  COMMAND cafx manual ${described}/man1
  COMMAND sh -c "rm -rf man1.gz && cp -r man1 man1.gz && gzip -9n man1.gz/*" WORKING_DIRECTORY ${described}
  COMMAND cafx completion bash > ${described}/cafx
  COMMAND cafx completion zsh > ${described}/_cafx
  COMMAND cafx completion fish > ${described}/cafx.fish
  COMMAND ${CMAKE_COMMAND} -E touch ${described}/stamp VERBATIM)
if(CAFX_BUNDLE OR CAFX_DEB)
  add_custom_target(cafx_described ALL DEPENDS ${described}/stamp)
  set(pages man1)
  if(CAFX_DEB)
    set(pages man1.gz)
  endif()
  install(DIRECTORY ${described}/${pages}/ DESTINATION ${CMAKE_INSTALL_MANDIR}/man1 COMPONENT program FILES_MATCHING PATTERN "*.1*")
  install(FILES ${described}/cafx DESTINATION ${CMAKE_INSTALL_DATADIR}/bash-completion/completions COMPONENT program)
  install(FILES ${described}/_cafx DESTINATION ${CMAKE_INSTALL_DATADIR}/zsh/vendor-completions COMPONENT program)
  install(FILES ${described}/cafx.fish DESTINATION ${CMAKE_INSTALL_DATADIR}/fish/vendor_completions.d COMPONENT program)
endif()
