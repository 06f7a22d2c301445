// host/train/company.h -- what runs that train in one process share: threads, recordings in memory, their copy on a
// GPU, and its steps.
//
//   Sharing decides no bit: a run in company takes the same steps on the same numbers as alone.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "host/train/lockstep.h"
#include "host/train/notes.h"
#include "host/train/places.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

// The recordings that a run learns from and is validated on, as the teacher leaves them where there is one.
struct RunAudio {
  Corpus training, validation;
  std::vector<WholeNote> measured;        // notes of the validation; of the training where there are none
  std::vector<SharedRecording> recorded;  // of those notes, where a teacher made the targets

  std::size_t samples() const { return training.samples() + validation.samples(); }
  Signals training_signals() const { return signals_of(training); }
  Signals validation_signals() const { return signals_of(validation); }
};

class Company {
 public:
  // threads: 0: all that this process may use.
  explicit Company(int threads, WorthClosing worth = saves_time)
      : pool_(threads > 0 ? threads : available_threads()), worth_(std::move(worth)) {}

  ThreadPool& pool() { return pool_; }

  // The audio of `data`; the first run takes it out by `take`.
  std::shared_ptr<const RunAudio> audio_of(const Dataset& data,
                                           const std::function<std::shared_ptr<const RunAudio>()>& take);
  // What `take` takes audio onto: runs of other data sets with the same recordings, as of other effects on the same dry
  // notes, read the same ones.
  Reels& reels() { return reels_; }
  // `signals` on the device that all these runs use, each half copied there once; places in them by Places::share. They
  // live as long as the company.
  const Places& on_device(const Context&, const Signals&);
  // Samples of them that are not there yet.
  std::size_t not_on_device(const Signals&) const;
  // The device of this name for the context (cafx::use_device); a GPU is opened once for all runs.
  void use_device(Context&, const std::string& name);
  // There is a run whose steps are of this kind; it is there no more.
  void expect(const std::string& kind) { ++expected_[kind]; }
  void gone(const std::string& kind) { --expected_[kind]; }
  // Whether a member should move into the gap that another left.
  bool worth_closing(const Closing& c) const { return worth_(c); }
  // Where runs of a kind take the steps of one stage together; `measure` is asked what one takes, the first time. Null:
  // there is one of the kind alone, or the GPU has no room for all.
  Lockstep* lockstep(const Context&, const std::string& kind, const std::string& stage,
                     const std::function<MemberSize()>& measure);
  void release_idle_locksteps();  // their memory on the GPU: of stages that all have left

 private:
  ThreadPool pool_;
  WorthClosing worth_;
  std::map<std::string, int> expected_;  // runs, by kind
  std::map<std::string, Context> devices_;
  struct Taken {
    const Dataset* data;
    std::shared_ptr<const RunAudio> audio;
  };
  struct Copied {
    Signals signals;
    std::unique_ptr<const Places> places;
  };
  const float* copy_of(const Context&, const float* samples, std::size_t n);

  Reels reels_;
  std::vector<Taken> taken_;
  std::map<const float*, DeviceArray<float>> on_device_;  // by where they lie on the host
  std::vector<Copied> copied_;
  std::map<std::string, std::unique_ptr<Lockstep>> locksteps_;
};

}  // namespace cafx
