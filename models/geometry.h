// models/geometry.h -- input and output sizes of one call of a model.
#pragma once

namespace cafx {

// In samples at the model's rate. frame == 0: a stream, which takes any number of samples at a time.
struct Geometry {
  int sample_rate;  // Hz
  int frame = 0;    // samples in and out of one forward pass
  int hop = 0;      // between frames, in training and by default in rendering
  int before = 0;  // context: input samples before and after the frame; `after` of a stream: how late it is, in samples
  int after = 0;
  int span() const { return before + frame + after; }  // samples in for a frame out
  int warm_up = 0;  // of a stream: least warm-up before a segment, input without loss
  int block = 0;    // of a stream: samples between two steps of training, the reach of back-propagation; 0: the segment
  int unit = 1;     // of a stream: a block begins at a multiple of so many samples
  int knobs = 0;    // controls: inputs that are constant over a place
};

}  // namespace cafx
