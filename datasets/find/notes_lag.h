// datasets/find/notes_lag.h -- the lags of notes, all together.
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "datasets/find/lag.h"
#include "datasets/find/take.h"
#include "datasets/pair.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

// One note's correlation, kept small: of 8 bits, of its own peak.
struct NoteCorrelation {
  std::vector<std::int8_t> r;  // at lags -most .. most
  int peak = 0;                // index
  double height = 0.0, standing_out = 0.0, match = 0.0;

  double near(long index, long reach) const;  // greatest magnitude there, of the peak's
  double signed_near(long index) const;       // the strongest within a sample, with its sign, in |r| <= 1
  std::vector<float> around(long index, long reach) const;
};

class NotesLag {
 public:
  NotesLag(const std::vector<const Pair*>& notes, int rate, ThreadPool& pool);

  std::size_t size() const { return notes_.size(); }
  const NoteCorrelation& operator[](std::size_t i) const { return correlations_[i]; }
  double match_with(const Bins& dry, std::size_t i) const;  // of this note's wet with another's dry
  Bins dry_spectrum(std::size_t i) const;

  // Over the notes that `counts` takes: the common lag, how far it stands out, how many lie on it.
  void find_common(const std::vector<bool>& counts);
  long lag = 0;
  double standing_out = 0.0;
  int n_asked = 0, n_agree = 0;
  bool clear = false;
  bool moves = false;  // no lag at all fits much worse

  // Lags of single notes, with the response that they share taken out.
  struct Own {
    double lag = 0.0;
    double margin = 0.0;     // by which its peak stands out
    double at_common = 0.0;  // height at the common lag, of its peak's
  };
  // The response as found at the common lag, from notes that lie on it; asked of the others.
  std::vector<Own> own_lags_by_common(const std::vector<bool>& counts);
  // The response found from notes that each have their own lag.
  std::vector<Own> own_lags_freely(const std::vector<bool>& counts);

 private:
  Take take(std::size_t i) const;
  std::vector<Own> ask(const Template&, const std::vector<bool>& whom, long center);

  std::vector<const Pair*> notes_;
  const int rate_;
  std::vector<NoteCorrelation> correlations_;
  std::size_t transform_ = 0;
  long most_ = 0;
  ThreadPool& pool_;
};

inline constexpr double kSureMargin = 0.4;  // measured: wrong peaks stand out by up to .34 (datasets/README.md)

}  // namespace cafx
