// datasets/effects.h -- wet audio made from dry by a chain of SoX effects, in process.
//
//   A chain is what stands after the files on SoX's command line ("overdrive 30 0 bass 20 500 0.7"), or the name of one
//   of the paper's: fxchain1, fxchain2, fxchain3. Those act on 16 kHz samples that SoX is told are 44.1 kHz, so that
//   500 Hz acts at 181.4 Hz. SoX works on 32-bit integers and clips to [-1, 1] after every effect.
//
// Errors   Error with the chain and what SoX says of it; effects that change rate or channels are refused.
// Threads  libsox has global state: calls are made one after the other, behind a lock.
#pragma once

#include <span>
#include <string>

#include "datasets/recording.h"

namespace cafx {

// y has as many samples as x: shorter results are padded with zeros, longer ones (tails) cut.
Recording apply_chain(const std::string& chain, std::span<const float> x, int sample_rate);

// The chain behind a name, the text itself where it is no name; the rate that SoX is told, 0: the true one.
struct Chain {
  std::string effects;
  int told_rate = 0;
};
Chain find_chain(const std::string& name_or_text);

}  // namespace cafx
