// Counts every allocation, release and lock of this thread, in a whole program: include it in one file of it.
#pragma once

#include <dlfcn.h>
#include <pthread.h>
#include <semaphore.h>

#include <cerrno>
#include <cstddef>

namespace {
[[maybe_unused]] thread_local long n_allocations = 0;
[[maybe_unused]] thread_local long n_locks = 0;

template <class F>
F* next(const char* name) {
  return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}
}  // namespace

#if !defined(__SANITIZE_ADDRESS__)
#define CAFX_COUNTS
extern "C" {
void* __libc_malloc(std::size_t);
void* __libc_calloc(std::size_t, std::size_t);
void* __libc_realloc(void*, std::size_t);
void* __libc_memalign(std::size_t, std::size_t);
void __libc_free(void*);
void* malloc(std::size_t n) {
  ++n_allocations;
  return __libc_malloc(n);
}
void* calloc(std::size_t n, std::size_t size) {
  ++n_allocations;
  return __libc_calloc(n, size);
}
void* realloc(void* p, std::size_t n) {
  ++n_allocations;
  return __libc_realloc(p, n);
}
void* aligned_alloc(std::size_t alignment, std::size_t n) {
  ++n_allocations;
  return __libc_memalign(alignment, n);
}
int posix_memalign(void** p, std::size_t alignment, std::size_t n) {
  ++n_allocations;
  *p = __libc_memalign(alignment, n);
  return *p ? 0 : ENOMEM;
}
void free(void* p) {
  n_allocations += p != nullptr;
  __libc_free(p);
}
int pthread_mutex_lock(pthread_mutex_t* m) {
  static auto* const f = next<int(pthread_mutex_t*)>("pthread_mutex_lock");
  ++n_locks;
  return f(m);
}
int pthread_mutex_trylock(pthread_mutex_t* m) {
  static auto* const f = next<int(pthread_mutex_t*)>("pthread_mutex_trylock");
  ++n_locks;
  return f(m);
}
int pthread_rwlock_rdlock(pthread_rwlock_t* m) {
  static auto* const f = next<int(pthread_rwlock_t*)>("pthread_rwlock_rdlock");
  ++n_locks;
  return f(m);
}
int pthread_rwlock_wrlock(pthread_rwlock_t* m) {
  static auto* const f = next<int(pthread_rwlock_t*)>("pthread_rwlock_wrlock");
  ++n_locks;
  return f(m);
}
int pthread_spin_lock(pthread_spinlock_t* m) {
  static auto* const f = next<int(pthread_spinlock_t*)>("pthread_spin_lock");
  ++n_locks;
  return f(m);
}
int pthread_cond_wait(pthread_cond_t* c, pthread_mutex_t* m) {
  static auto* const f = next<int(pthread_cond_t*, pthread_mutex_t*)>("pthread_cond_wait");
  ++n_locks;
  return f(c, m);
}
int sem_wait(sem_t* s) {
  static auto* const f = next<int(sem_t*)>("sem_wait");
  ++n_locks;
  return f(s);
}
}
#endif
