// host/eval/device_traits.h -- a trained model measured as a device: its responses to sines, whatever it was trained
// on.
//
//   Every tone lasts 1.25 s. The last second (or half) is analysed: it holds a whole number of periods, so no bin
//   leaks. Levels are peaks in dB of full scale. `hop` is the hop of the rendering.
//
//   harmonics   at each level the amplitudes of the first ten harmonics of a tone of 220 Hz, and thd = root of the sum
//               of squares of harmonics 2 to 10 over the first
//   response    output over input amplitude of the fundamental in dB, at each frequency, at three levels
//   aliasing    energy at no multiple of the tone below half the rate, over the whole energy without the mean, in dB:
//               aliases and artefacts of the frames; at the highest level of `response`
//   curve       output against input over one period of 220 Hz in the steady state: the static waveshaping curve, which
//               is a loop where the device has memory
#pragma once

#include <vector>

#include "kernels/device/context.h"
#include "models/model.h"

namespace cafx {

struct Harmonics {
  double level_db = 0.0;
  std::vector<double> amplitude;  // of harmonics 1 to 10, full scale = 1
  double thd = 0.0;
};
struct DeviceTraits {
  std::vector<Harmonics> harmonics;
  std::vector<double> levels_db, hz;
  std::vector<std::vector<double>> response_db;  // for each level, at hz
  std::vector<double> aliasing_db;               // at hz
  std::vector<double> curve_in, curve_out;       // for the highest level
};

DeviceTraits measure_device(Model&, const Context&, int hop, const std::vector<double>& levels_db);
// The same for any function from signal to signal.
using SignalFunction = std::vector<float> (*)(const std::vector<float>&, void*);
DeviceTraits measure_device(SignalFunction, void* what, int sample_rate, const std::vector<double>& levels_db);

}  // namespace cafx
