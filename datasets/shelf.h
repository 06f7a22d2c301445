// datasets/shelf.h -- what data sets of one process have in common: each file is read once, equal audio held once.
//
//   Data sets of several effects mostly start from the same dry notes. A file is decoded and resampled for the first of
//   them that asks, and once a set is ready, what it has in common with those before shares their samples.
//
// Bits     a data set is the same with a shelf and without.
// Threads  any number at once.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

struct Dataset;

class Shelf {
 public:
  // One side of a pair as its file gives it.
  struct Side {
    SharedRecording samples;
    FileFacts facts;
    std::vector<Finding> findings;
  };
  // What `read` gives for this key, asked for once. Its errors are passed on, to each who asks.
  Side side(const std::string& key, const std::function<Side()>& read);
  // Lets the recordings of a finished data set share the samples of equal ones that were here before.
  void share(Dataset&);

 private:
  struct Slot {
    std::once_flag read;
    Side side;
  };
  std::mutex mutex_;
  std::map<std::string, std::unique_ptr<Slot>> sides_;
  std::map<std::string, SharedRecording> equal_;  // by a hash of the samples
};

}  // namespace cafx
