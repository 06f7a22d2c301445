// host/export/nam_loudness.h -- how loud a model is, as the trainer of NeuralAmpModeler measures it for a .nam file.
//
//   loudness  dB of full scale: the root mean square of the model's output, from rest, for a signal of one second
//   gain      0 .. 1, how much the model compresses: the loudness at input gains of 0, 0.1, ... 1, summed; 0 where it
//             grows in proportion, 1 where it is the same at all of them
//
// Source   neural-amp-modeler 0.13, nam/models/base.py. The signal is its models/_resources/loudness_input.wav, 48,000
//          samples that are played as they are at every rate; nam_loudness.flac here holds the same samples under that
//          project's licence (nam_loudness.LICENSE).
#pragma once

#include <functional>
#include <vector>

namespace cafx {

struct NamLoudness {
  double loudness_db = 0.0, gain = 0.0;
};

// `play` gives the model's output, from rest, as long as its input. A silent model: minus infinity and 0.
NamLoudness nam_loudness(const std::function<std::vector<float>(const std::vector<float>&)>& play);
const std::vector<float>& nam_loudness_input();

}  // namespace cafx
