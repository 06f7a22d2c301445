#include <algorithm>
#include <chrono>
#include <cstring>
#include <thread>

#include "host/train/cuda_stepper.h"
#include "kernels/base/error.h"
#include "models/registry.h"

namespace cafx {

namespace {

// Several GPUs, each a CudaStepper in its own thread. Every rank finishes a rehearsal before any starts the next:
// loading a kernel may wait for the device, and must not while another rank waits for this one inside NCCL.
class TeamStepper : public Stepper {
 public:
  TeamStepper(GpuTeam& team, Model& model, Places& places, const StepSettings& settings, const std::vector<float>& m,
              const std::vector<float>& v, const std::vector<float>& average)
      : team_(team), ranks_(static_cast<std::size_t>(team.size())) {
    team_.run([&](int r) {
      Rank& rank = at(r);
      if (r > 0) {
        rank.model = make_model(model.config(), model.form());
        std::copy_n(model.params().data(), model.params().n_floats(), rank.model->params().data());
        rank.places = std::make_unique<Places>(places.on(team_.context(r)));
      }
      rank.stepper =
          std::make_unique<CudaStepper>(team_.context(r), r > 0 ? *rank.model : model, r > 0 ? *rank.places : places,
                                        settings, m, v, average, &team_.exchange(r));
      rank.stepper->rehearse_update();
    });
  }

  ~TeamStepper() override {
    try {
      team_.run([&](int r) { at(r) = {}; });
    } catch (...) {
      // After a failure no thread is left to free it in; the process ends.
      for (Rank& r : ranks_)
        static_cast<void>(r.stepper.release()), static_cast<void>(r.model.release()),
            static_cast<void>(r.places.release());
    }
  }

  void begin_epoch(const std::vector<std::uint32_t>& order, const std::vector<float>& rates, long updates_before,
                   long first) override {
    team_.run([&](int r) { at(r).stepper->begin_epoch(order, rates, updates_before, first); });
  }

  void begin_epoch(Rng rng, const std::vector<float>& rates, long updates_before, long first) override {
    team_.run([&](int r) { at(r).stepper->begin_epoch(rng, rates, updates_before, first); });
  }

  void set_places(const std::vector<FrameRef>& refs) override {
    team_.run([&](int r) { at(r).stepper->set_places(refs); });
  }

  void enqueue(long steps) override {
    for (const int B : at(0).stepper->unrecorded(steps)) {
      team_.run([&](int r) { at(r).stepper->rehearse(B); });
      if (!exchanged_) team_.run([&](int r) { at(r).stepper->rehearse_exchange(); });
      exchanged_ = true;
      team_.run([&](int r) { at(r).stepper->record(B); });
    }
    team_.run([&](int r) { at(r).stepper->launch(steps); });
  }

  // Polls: a GPU that is lost must not leave the others, and this, waiting for it.
  std::vector<StepRecord> collect(bool all) override {
    wait(all);
    std::vector<StepRecord> records = at(0).stepper->collect(all);
    for (int r = 1; r < team_.size(); ++r) {
      const std::vector<StepRecord> same = at(r).stepper->collect(all);
      CAFX_CHECK(same.size() == records.size(), r, same.size(), records.size());
      for (std::size_t i = 0; i < same.size(); ++i) {
        CAFX_CHECK(std::memcmp(&same[i], &records[i], sizeof same[i]) == 0, r, i, same[i].norm, records[i].norm);
      }
    }
    return records;
  }

  long portion() const override { return ranks_[0].stepper->portion(); }

  void fetch(std::vector<float>& m, std::vector<float>& v) override {
    team_.run([&](int r) {
      if (r == 0) at(0).stepper->fetch(m, v);
    });
  }

  std::vector<float> average() override {
    std::vector<float> average;
    team_.run([&](int r) {
      if (r == 0) average = at(0).stepper->average();
    });
    return average;
  }

  std::vector<std::vector<float>> replicas() override {
    std::vector<std::vector<float>> all(ranks_.size());
    team_.run([&](int r) { all[static_cast<std::size_t>(r)] = at(r).stepper->replicas()[0]; });
    return all;
  }

  std::vector<float> gradient_of(long update) override {
    std::vector<float> gradient;
    team_.run([&](int r) {
      std::vector<float> mine = at(r).stepper->gradient_of(update);
      if (r == 0) gradient = std::move(mine);
    });
    return gradient;
  }

 private:
  struct Rank {
    std::unique_ptr<Model> model;
    std::unique_ptr<Places> places;
    std::unique_ptr<CudaStepper> stepper;  // first to go: it uses the others
  };
  Rank& at(int r) { return ranks_[static_cast<std::size_t>(r)]; }

  void wait(bool all) {
    try {
      for (;;) {
        bool ready = true;
        for (int r = 0; r < team_.size(); ++r) {
          try {
            ready = at(r).stepper->ready(all) && ready;
            const std::string failure = team_.exchange(r).failure();
            if (!failure.empty()) throw Error("{}", failure);
          } catch (const Error& e) {
            throw Error("GPU {}: {}", team_.gpu(r), e.what());
          }
        }
        if (ready) return;
        std::this_thread::sleep_for(std::chrono::microseconds(100));
      }
    } catch (...) {
      team_.abort();
      throw;
    }
  }

  GpuTeam& team_;
  std::vector<Rank> ranks_;
  bool exchanged_ = false;
};

}  // namespace

std::unique_ptr<Stepper> make_stepper(GpuTeam& team, Model& model, Places& places, const StepSettings& settings,
                                      const std::vector<float>& m, const std::vector<float>& v,
                                      const std::vector<float>& average) {
  return std::make_unique<TeamStepper>(team, model, places, settings, m, v, average);
}

}  // namespace cafx
