// cmake/old_symbols.h -- included before all in what is handed on (cmake/install.cmake): asks the C and C++ libraries
// for the older of two versions of a function: built on Debian 12, it starts with glibc 2.34, libstdc++ of GCC 11.
#pragma once

#if defined(__linux__) && defined(__x86_64__)
__asm__(".symver hypot, hypot@GLIBC_2.2.5");
__asm__(".symver hypotf, hypotf@GLIBC_2.2.5");
__asm__(
    ".symver _ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE, "
    "_ZNSt18condition_variable4waitERSt11unique_lockISt5mutexE@GLIBCXX_3.4.11");
#endif
