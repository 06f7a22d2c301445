// datasets/find/onset.h -- whether a short lag is a delay, or the phase of a filter.
//
//   A filter turns low notes by up to some milliseconds, late (low pass) or early (high pass), and its correlation
//   peaks there. But it answers at once; a delay does not before its time is over, and only wet that is early answers
//   before. So linear filters, by least squares, are held against each other, which may answer from one moment on or
//   another. A lag is a delay where taps before it are worth hardly anything, and those behind it much.
//
// Cost     three systems of Toeplitz's form, at most 48 pairs of transforms of 2^18 samples.
#pragma once

#include <vector>

#include "datasets/pair.h"

namespace cafx {

// Wet that is late by no more is left alone: devices delay that much themselves, and every model looks back further.
inline constexpr double kLeftSeconds = 0.0004;

// What the best filters leave of wet, of its energy, whose first taps lie at these samples behind dry and whose last
// taps are the same.
std::vector<double> left_by_filters(const std::vector<const Pair*>& pairs, const std::vector<long>& first, int rate);

// Of a lag in samples that was found, of at most kFilterSeconds: whether it is to be left to the model.
bool is_phase(const std::vector<const Pair*>& pairs, double lag, int rate);

}  // namespace cafx
