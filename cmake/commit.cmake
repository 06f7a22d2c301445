# Writes OUT with CAFX_COMMIT, the commit of SOURCE, "+" behind it where files differ from it; "" outside of a git checkout.
# Run at each build: the file is touched only where it changes, and one source includes it.
execute_process(COMMAND git -C "${SOURCE}" describe --always --abbrev=12 --exclude=* --dirty=+
                OUTPUT_VARIABLE commit OUTPUT_STRIP_TRAILING_WHITESPACE ERROR_QUIET RESULT_VARIABLE failed)
if(failed)
  set(commit "${WITHOUT_GIT}")
endif()
set(text "// Made at each build by cmake/commit.cmake.\n#define CAFX_COMMIT \"${commit}\"\n")
if(EXISTS "${OUT}")
  file(READ "${OUT}" old)
endif()
if(NOT "${old}" STREQUAL "${text}")
  file(WRITE "${OUT}" "${text}")
endif()
