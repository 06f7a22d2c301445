// kernels/ssm/ssm_layout.h -- what ssm_prepare makes of a channel's tensors, for both devices.
#pragma once

#include "kernels/ssm/ssm.h"

#ifdef __CUDACC__
#define CAFX_SSM_BOTH __host__ __device__
#else
#define CAFX_SSM_BOTH
#endif

namespace cafx::ssm {

inline constexpr int Q = kSsmChunk;

// One channel's block of floats; complex numbers are pairs. With a = exp(dt A), r = c E and k[j] the impulse response,
// d included in k[0]:
struct Packed {
  long response;              // (Q,Q): [i][t] k[t - i], zero before
  long response_t;            // its transpose
  long hear, hear_t;          // (Q,N,2): [i] a^(Q-1-i); its transpose
  long speak, speak_t;        // (N,2,Q): 2 Re r a^(t+1) and -2 Im; its transpose
  long over;                  // (N,2): a^Q
  long turn, turn_across;     // (N,2): the real part of a^Q twice; its imaginary part, negated and as it is
  long r, slope, e, a, fall;  // (N,2) each: r, c a / A, E, A, c E / A
  long dt, size;
  CAFX_SSM_BOTH explicit Packed(int N) {
    const long n = 2L * N;
    response = 0;
    response_t = response + Q * Q;
    hear = response_t + Q * Q;
    hear_t = hear + Q * n;
    speak = hear_t + Q * n;
    speak_t = speak + Q * n;
    over = speak_t + Q * n;
    turn = over + n;
    turn_across = turn + n;
    r = turn_across + n;
    slope = r + n;
    e = slope + n;
    a = e + n;
    fall = a + n;
    dt = fall + n;
    size = dt + 16;  // to a border of 64 bytes, where N is a multiple of 8
  }
};

}  // namespace cafx::ssm
