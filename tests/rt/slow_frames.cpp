// Linked into the plugin of the tests in place of the measurement (ld --wrap): a frame takes CAFX_TEST_FRAME_SECONDS.
#include <cstdlib>

#include "cafx_rt.h"

extern "C" double __wrap_cafx_rt_frame_seconds(cafx_rt_stream* stream, double) {
  const char* text = std::getenv("CAFX_TEST_FRAME_SECONDS");
  if (!stream || !text) std::abort();
  return std::strtod(text, nullptr);
}
