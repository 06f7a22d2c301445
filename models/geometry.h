// models/geometry.h -- what a model hears and gives back at a time, whatever is inside.
#pragma once

namespace cafx {

// In samples at the model's rate. frame == 0: a stream, which takes any number of samples at a time.
struct Geometry {
  int sample_rate;  // Hz
  int frame = 0;    // samples in and out of one forward pass
  int hop = 0;      // between frames, in training and, unless another is asked for, in rendering
  int before = 0;   // samples beside the frame that the model also hears
  int after = 0;
  int warm_up = 0;  // of a stream: samples before a segment that it hears and is not judged by, at least
  int block = 0;    // of a stream: samples between two steps of training, the reach of back-propagation; 0: the segment
  int knobs = 0;    // inputs that are constant over a frame
};

}  // namespace cafx
