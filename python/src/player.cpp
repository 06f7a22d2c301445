// libcafx_player.so: what the Python module calls by ctypes, beside the functions of cafx_rt.h, which are in it too.
//
//   A C interface has one binary for every version of Python; ctypes gives Python's lock back during each call, and
//   audio is handed over where it lies. Every function that can fail returns 0 or NULL then, with one sentence in
//   `why`, cut to why_size.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <memory>
#include <mutex>
#include <nlohmann/json.hpp>
#include <span>
#include <string>
#include <vector>

#include "datasets/audio_file.h"
#include "host/render/render.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "kernels/base/thread_pool.h"
#include "kernels/device/context.h"
#include "models/play/weights_file.h"
#include "rt/stream.h"

#define CAFX_PLAYER_API extern "C" __attribute__((visibility("default")))

namespace {

using namespace cafx;

struct OpenModel {
  std::mutex one_at_a_time;
  ModelFile file;
  std::vector<Knob> knobs;
  std::unique_ptr<ThreadPool> pool;
  Context context;
  std::string about;  // JSON
};

// Runs `body`; what it throws becomes the sentence.
template <class Body>
int without_throwing(char* why, std::size_t why_size, Body body) {
  try {
    body();
    return 1;
  } catch (const std::bad_alloc&) {
    std::snprintf(why, why_size, "out of memory");
  } catch (const std::exception& e) {
    std::snprintf(why, why_size, "%s", e.what());
  }
  return 0;
}

// To `values`, one for each knob.
void turn(OpenModel& m, const double* values) {
  m.file.model->turn_to(controls_at(m.knobs, std::vector<double>(values, values + m.knobs.size())));
}

nlohmann::json about_knobs(const std::vector<Knob>& knobs) {
  auto list = nlohmann::json::array();
  for (const Knob& k : knobs) {
    list.push_back({{"name", k.name},
                    {"unit", k.unit},
                    {"range", {k.least(), k.largest()}},
                    {"start", k.start()},
                    {"positions", k.positions}});
  }
  return list;
}

std::vector<float> render(OpenModel& m, const float* x, std::int64_t n, double rate, int hop) {
  const Geometry geometry = m.file.model->geometry();
  const int own_rate = geometry.sample_rate;
  if (hop == 0) hop = geometry.hop;  // 0 of a stream, too
  const std::span in(x, static_cast<std::size_t>(n));
  for (std::size_t i = 0; i < in.size(); ++i) {
    if (!std::isfinite(in[i]))
      throw Error("the input holds a sample that is {} at {:.3f} s", in[i], static_cast<double>(i) / rate);
  }
  if (rate == own_rate) return render_signal(*m.file.model, m.context, in.data(), in.size(), hop);
  const Recording at_own_rate = resample(in, rate, own_rate);
  const Recording out =
      resample(render_signal(*m.file.model, m.context, at_own_rate.data(), at_own_rate.size(), hop), own_rate, rate);
  return {out.begin(), out.end()};
}

}  // namespace

// A weights file or the folder of a run. threads 0: all.
CAFX_PLAYER_API OpenModel* cafx_player_open(const char* path, int threads, char* why, std::size_t why_size) {
  auto m = std::make_unique<OpenModel>();
  const int done = without_throwing(why, why_size, [&] {
    m->file = load_model(path);
    m->knobs = parse_knobs(m->file.model->config().knobs, path);
    m->pool = std::make_unique<ThreadPool>(threads > 0 ? threads : available_threads());
    m->context.isa = best_isa();
    m->context.pool = m->pool.get();
    const auto& model = *m->file.model;
    nlohmann::json about = {{"type", model.config().type()},      {"sample_rate", model.geometry().sample_rate},
                            {"frame", model.geometry().frame},    {"hop", model.geometry().hop},
                            {"parameters", model.n_parameters()}, {"metadata", m->file.metadata},
                            {"knobs", about_knobs(m->knobs)}};
    m->about = about.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
  });
  return done ? m.release() : nullptr;
}

CAFX_PLAYER_API void cafx_player_close(OpenModel* m) { delete m; }

// JSON: type, sample_rate (Hz), frame, hop (samples), parameters, metadata; knobs: name, unit, range and start of the
// value, positions of a switch, whose value is the position's index. Lives as long as the model.
CAFX_PLAYER_API const char* cafx_player_about(const OpenModel* m) { return m->about.c_str(); }

// What a setting as "gain=5" turns: the knob's index, and its value. `where` begins the sentence.
CAFX_PLAYER_API int cafx_player_knob(const OpenModel* m, const char* setting, const char* where, int* index,
                                     double* value, char* why, std::size_t why_size) {
  return without_throwing(why, why_size, [&] {
    const auto [knob, turned_to] = knob_setting(m->knobs, setting, where);
    *index = static_cast<int>(knob);
    *value = turned_to;
  });
}

// Freed by cafx_rt_free. values: of all knobs, where the stream begins.
CAFX_PLAYER_API cafx_rt_stream* cafx_player_stream(OpenModel* m, const cafx_rt_options* options, const double* values,
                                                   char* why, std::size_t why_size) {
  cafx_rt_stream* stream = nullptr;
  without_throwing(why, why_size, [&] {
    const std::lock_guard lock(m->one_at_a_time);
    turn(*m, values);
    stream = make_rt_stream(*m->file.model, *options);
  });
  return stream;
}

// x (n) at `rate` Hz -> y (n), time-aligned. hop 0: the model's. values: of all knobs. Several threads may call; one at
// a time is at work.
CAFX_PLAYER_API int cafx_player_render(OpenModel* m, const float* x, float* y, std::int64_t n, double rate, int hop,
                                       const double* values, char* why, std::size_t why_size) {
  return without_throwing(why, why_size, [&] {
    const std::lock_guard lock(m->one_at_a_time);
    turn(*m, values);
    const std::vector<float> rendered = render(*m, x, n, rate, hop);
    for (std::size_t i = 0; i < rendered.size(); ++i) {
      if (std::isfinite(rendered[i])) continue;
      throw Error("the model's output is not finite at {:.3f} s; turn the input down", static_cast<double>(i) / rate);
    }
    const auto n_out = std::min(rendered.size(), static_cast<std::size_t>(n));  // resampled: may differ by one
    std::copy_n(rendered.begin(), n_out, y);
    std::fill(y + n_out, y + n, 0.0f);
  });
}

// A file as mono float at `rate` Hz, 0: its own. *x is freed by cafx_player_free.
CAFX_PLAYER_API int cafx_player_read(const char* path, int rate, float** x, std::int64_t* n, int* rate_out, char* why,
                                     std::size_t why_size) {
  return without_throwing(why, why_size, [&] {
    const Audio audio = read_audio(path, rate);
    *x = new float[audio.samples.size() + 1];
    std::copy(audio.samples.begin(), audio.samples.end(), *x);
    *n = static_cast<std::int64_t>(audio.samples.size());
    *rate_out = audio.sample_rate;
  });
}
CAFX_PLAYER_API void cafx_player_free(float* x) { delete[] x; }

// WAV: float. FLAC: 24 bit.
CAFX_PLAYER_API int cafx_player_write(const char* path, const float* x, std::int64_t n, int rate, char* why,
                                      std::size_t why_size) {
  return without_throwing(why, why_size, [&] {
    const std::string name = path;
    const bool flac = name.size() > 5 && name.compare(name.size() - 5, 5, ".flac") == 0;
    write_audio(path, std::vector<float>(x, x + n), rate, flac ? SampleFormat::kPcm24 : SampleFormat::kFloat);
  });
}
