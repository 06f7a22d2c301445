// host/metrics/spectral.h -- spectral distances between output and target, close to perception.
//
//   mfcc_cosine   mean over time of 1 - cos(angle) between 13 mel-frequency cepstral coefficients; 0 to 2, no unit
//                 Waveforms at mean square 1. Power spectrogram of 4096 samples (periodic Hann), hop 2048, centred,
//                 padded with zeros; 40 mels (Slaney's scale and areas) from 0 to half the rate; 10 log10(max(1e-10,
//                 S)) relative to the
//                 largest value, at most 80 dB below it; orthonormal DCT-II.     Source: librosa's definitions.
//   mr_stft       spectral convergence plus mean |ln|Y| - ln|Y^||, mean over windows of 600, 1200, 240 samples in
//                 frames of 1024, 2048, 512 at hops of 120, 240, 50 (periodic Hann, centred, reflected); powers at
//                 least 1e-8; no unit
//                 Spectral convergence: norm(|Y| - |Y^|) / norm(|Y|).            Source: auraloss, its defaults.
//
// Cases    mfcc_cosine: a silent signal has coefficients of 0; the distance is 0 where both are silent, 1 where one is.
//          mr_stft: two silent signals: 0; the floor keeps it finite otherwise. A constant: no special case.
//          NaN or infinite samples: checked by the caller (metrics.h).
#pragma once

#include <vector>

namespace cafx {

// Coefficients, 13 for each frame.
std::vector<double> mfcc(const std::vector<float>& x, int sample_rate);
double cosine_distance(const std::vector<double>& a, const std::vector<double>& b, int n_coefficients);
inline constexpr int kMfcc = 13;

double mr_stft(const std::vector<float>& target, const std::vector<float>& output);

}  // namespace cafx
