// host/train/company.h -- what runs that train in one process share: threads, recordings in memory, their copy on a
// GPU.
//
//   Sharing decides no bit: a run in company takes the same steps on the same numbers as alone.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "host/train/notes.h"
#include "host/train/places.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

// The recordings that a run learns from and is validated on, as the teacher leaves them where there is one.
struct RunAudio {
  Corpus training, validation;
  std::vector<WholeNote> measured;           // notes of the validation; of the training where there are none
  std::vector<std::vector<float>> recorded;  // of those notes, where a teacher made the targets

  std::size_t samples() const { return training.audio.size() + validation.audio.size(); }
  Signals training_signals() const { return signals_of(training); }
  Signals validation_signals() const { return signals_of(validation); }
};

class Company {
 public:
  // threads: 0: all that this process may use.
  explicit Company(int threads) : pool_(threads > 0 ? threads : available_threads()) {}

  ThreadPool& pool() { return pool_; }

  // The audio of `data`; the first run takes it out by `take`.
  std::shared_ptr<const RunAudio> audio_of(const Dataset& data,
                                           const std::function<std::shared_ptr<const RunAudio>()>& take);
  // `signals` on the device that all these runs use, copied there once; places in them by Places::share. They live as
  // long as the company.
  const Places& on_device(const Context&, const Signals&);

 private:
  ThreadPool pool_;
  struct Taken {
    const Dataset* data;
    std::shared_ptr<const RunAudio> audio;
  };
  struct Copied {
    const float* data;
    std::unique_ptr<const Places> places;
  };
  std::vector<Taken> taken_;
  std::vector<Copied> copied_;
};

}  // namespace cafx
