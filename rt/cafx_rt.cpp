#include "cafx_rt.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstring>
#include <exception>
#include <memory>
#include <new>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include "kernels/base/error.h"
#include "kernels/base/flush_denormals.h"
#include "kernels/base/knobs.h"
#include "kernels/base/printable.h"
#include "kernels/base/rng.h"
#include "models/play/player.h"
#include "models/play/weights_file.h"
#include "rt/resampler.h"
#include "rt/stream.h"

struct cafx_rt_model {
  std::unique_ptr<cafx::Model> model;
  std::vector<cafx::Knob> knobs;
};

namespace {

using namespace cafx;

constexpr int kPiece = 256;  // host samples worked on at a time where rates differ
constexpr int kBlock = 64;   // samples that a player without frames is measured with
constexpr int kLowestHz = 4000, kHighestHz = 768000;
constexpr int kLargestBlock = 1 << 20;        // of block_length
constexpr std::int64_t kMostTimed = 1 << 21;  // samples that are timed at once, so that frames and blocks end together

// One line that a host may print as it is, whatever a damaged file put into the message.
void say(char* error, std::size_t size, const char* what) {
  if (!error || size == 0) return;
  const std::string text = printable_line(what, std::string::npos);
  const std::size_t n = std::min(text.size(), size - 1);
  std::memcpy(error, text.data(), n);
  error[n] = 0;
}

// The result of `make`, or null and the reason: no exception passes.
template <class Make>
auto guarded(char* error, std::size_t size, Make make) noexcept -> decltype(make()) {
  try {
    say(error, size, "");
    return make();
  } catch (const std::bad_alloc&) {
    say(error, size, "not enough memory");
  } catch (const std::exception& e) {
    say(error, size, e.what());
  } catch (...) {
    say(error, size, "unknown failure");
  }
  return nullptr;
}

// The two resamplers around a model, with the delay that makes the whole an integer of host samples:
// output k is the stream's value at time (k - latency) model / host + stream's latency, in samples of the model.
struct Rates {
  Rates(int host_hz, int model_hz, int stream_latency) {
    const std::int64_t g = std::gcd(host_hz, model_hz), L = model_hz / g, M = host_hz / g;
    const int in_reach = RtResampler::reach(host_hz, model_hz), out_reach = RtResampler::reach(model_hz, host_hz);
    latency = in_reach + ((stream_latency + out_reach + 1) * M + L - 1) / L;
    in.emplace(host_hz, model_hz, kPiece, 0);
    const auto most = static_cast<std::size_t>(kPiece * L / M + 2);
    out.emplace(model_hz, host_hz, most, latency * L - stream_latency * M);
    model_samples.resize(most);
  }
  std::optional<RtResampler> in, out;
  std::vector<float> model_samples;
  std::int64_t latency;
};

}  // namespace

struct cafx_rt_stream {
  struct Setting {
    int model_hz, host_hz, hop, block_length;
  };
  std::unique_ptr<Player> effect;
  Setting setting;
  std::vector<Knob> knobs;
  std::optional<Rates> rates;  // where the host's rate is not the model's

  cafx_rt_stream(std::unique_ptr<Player> e, const Setting& s, std::vector<Knob> k)
      : effect(std::move(e)), setting(s), knobs(std::move(k)) {
    if (s.host_hz != s.model_hz) rates.emplace(s.host_hz, s.model_hz, effect->latency());
  }

  void process(const float* in, float* out, std::size_t n) noexcept {
    if (!rates) {
      effect->process(out, in, n);
      return;
    }
    const FlushDenormals scope;
    Rates& r = *rates;
    float* x = r.model_samples.data();
    while (n > 0) {
      const std::size_t m = std::min<std::size_t>(n, kPiece);
      r.in->feed(in, m);
      const std::size_t k = r.in->make(x, r.model_samples.size());
      effect->process(x, x, k);
      r.out->feed(x, k);
      const std::size_t made = r.out->make(out, m);
      std::fill(out + made, out + m, 0.0f);  // never: the latency says so
      in += m;
      out += m;
      n -= m;
    }
  }

  void reset() noexcept {
    effect->reset();
    if (!rates) return;
    rates->in->reset();
    rates->out->reset();
  }
};

cafx_rt_stream* cafx::make_rt_stream(const Model& model, const cafx_rt_options& o) {
  const int model_hz = model.geometry().sample_rate;
  const double rate = o.host_rate == 0.0 ? model_hz : o.host_rate;
  if (rate != model_hz && !(rate >= kLowestHz && rate <= kHighestHz)) {
    throw Error("host_rate = {} Hz: expected {} to {}", rate, kLowestHz, kHighestHz);
  }
  const int hz = static_cast<int>(std::lround(rate));
  if (o.block_length < 0 || o.block_length > kLargestBlock) {
    throw Error("block_length = {}: expected 0 to {}", o.block_length, kLargestBlock);
  }
  const int block = std::max(1, o.block_length);
  const PlayOptions play{o.hop, hz == model_hz ? block : 1, best_isa()};
  return new cafx_rt_stream(make_player(model, play), {model_hz, hz, player_hop(model, play), block},
                            parse_knobs(model.config().knobs, "model.knobs"));
}

extern "C" {

uint32_t cafx_rt_version(void) { return CAFX_RT_VERSION; }

cafx_rt_model* cafx_rt_load(const char* path, char* error, size_t error_size) {
  return guarded(error, error_size, [&] {
    if (!path) throw Error("path is NULL");
    auto model = load_model(path).model;
    if (model->form() != kSupervised) {
      throw Error("{}: is a pretrained front end, which is no effect; give a model after its supervised training",
                  path);
    }
    std::vector<Knob> knobs = parse_knobs(model->config().knobs, path);
    return new cafx_rt_model{std::move(model), std::move(knobs)};
  });
}

cafx_rt_status cafx_rt_describe(const cafx_rt_model* model, cafx_rt_info* info) {
  if (!model || !info || info->size < sizeof(cafx_rt_info)) return CAFX_RT_ERROR_ARGUMENT;
  const Geometry g = model->model->geometry();
  info->sample_rate = g.sample_rate;
  info->frame = std::max(1, g.frame);
  info->hop = std::max(1, g.hop);
  info->parameters = model->model->n_parameters();
  return CAFX_RT_OK;
}

int32_t cafx_rt_knobs(const cafx_rt_model* model) { return model ? static_cast<int32_t>(model->knobs.size()) : 0; }

cafx_rt_status cafx_rt_knob(const cafx_rt_model* model, int32_t index, cafx_rt_knob_info* info) {
  if (!info || info->size < sizeof(cafx_rt_knob_info) || index < 0 || index >= cafx_rt_knobs(model)) {
    return CAFX_RT_ERROR_ARGUMENT;
  }
  const Knob& k = model->knobs[static_cast<std::size_t>(index)];
  info->positions = static_cast<int32_t>(k.positions.size());
  info->min = k.least();
  info->max = k.largest();
  info->start = k.start();
  info->name = k.name.c_str();
  info->unit = k.unit.c_str();
  return CAFX_RT_OK;
}

const char* cafx_rt_knob_position(const cafx_rt_model* model, int32_t index, int32_t position) {
  if (index < 0 || index >= cafx_rt_knobs(model) || position < 0) return nullptr;
  const auto& positions = model->knobs[static_cast<std::size_t>(index)].positions;
  return position < static_cast<int32_t>(positions.size()) ? positions[static_cast<std::size_t>(position)].c_str()
                                                           : nullptr;
}

void cafx_rt_free_model(cafx_rt_model* model) { delete model; }

cafx_rt_stream* cafx_rt_prepare(const cafx_rt_model* model, const cafx_rt_options* options, char* error,
                                size_t error_size) {
  return guarded(error, error_size, [&] {
    if (!model) throw Error("model is NULL");
    const cafx_rt_options o = options ? *options : cafx_rt_options CAFX_RT_OPTIONS_INIT;
    if (o.size < sizeof(cafx_rt_options)) throw Error("options.size = {}: use CAFX_RT_OPTIONS_INIT", o.size);
    return make_rt_stream(*model->model, o);
  });
}

cafx_rt_stream* cafx_rt_twin(const cafx_rt_stream* stream) {
  return guarded(nullptr, 0, [&]() -> cafx_rt_stream* {
    if (!stream) return nullptr;
    return new cafx_rt_stream(stream->effect->twin(), stream->setting, stream->knobs);
  });
}

void cafx_rt_free(cafx_rt_stream* stream) { delete stream; }

cafx_rt_status cafx_rt_process(cafx_rt_stream* stream, const float* in, float* out, size_t n) {
  if (!stream || !in || !out || n % static_cast<size_t>(stream->setting.block_length) != 0) {
    if (out) std::fill_n(out, n, 0.0f);
    return CAFX_RT_ERROR_ARGUMENT;
  }
  stream->process(in, out, n);
  return CAFX_RT_OK;
}

cafx_rt_status cafx_rt_set_knob(cafx_rt_stream* stream, int32_t index, double value) {
  if (!stream || index < 0 || index >= static_cast<int32_t>(stream->knobs.size())) return CAFX_RT_ERROR_ARGUMENT;
  if (!stream->knobs[static_cast<std::size_t>(index)].holds(value)) return CAFX_RT_ERROR_ARGUMENT;
  stream->effect->set(index, static_cast<float>(value));
  return CAFX_RT_OK;
}

void cafx_rt_reset(cafx_rt_stream* stream) {
  if (stream) stream->reset();
}

size_t cafx_rt_latency(const cafx_rt_stream* stream) {
  if (!stream) return 0;
  return static_cast<size_t>(stream->rates ? stream->rates->latency : stream->effect->latency());
}

int32_t cafx_rt_hop(const cafx_rt_stream* stream) { return stream ? stream->setting.hop : 0; }

double cafx_rt_frame_seconds(cafx_rt_stream* stream, double budget) {
  if (!stream || !(budget >= 0.0)) return -1.0;
  try {
    using Clock = std::chrono::steady_clock;
    const std::int64_t hop = stream->setting.hop, block = stream->rates ? 1 : stream->setting.block_length;
    const std::int64_t both = std::lcm(hop, block),
                       whole = both <= kMostTimed ? both : (hop + block - 1) / block * block;
    // Of what plays sample by sample as many as a host's block has: a clock cannot see one.
    const auto n = static_cast<std::size_t>(hop > 1 ? whole : (kBlock + whole - 1) / whole * whole);
    const Rng rng{1, 2};
    std::vector<float> x(n), y(n);
    for (std::size_t i = 0; i < n; ++i) x[i] = static_cast<float>(0.05 * rng.normal(i));
    std::vector<double> each;
    const auto started = Clock::now();
    do {
      const auto before = Clock::now();
      stream->effect->process(y.data(), x.data(), n);
      each.push_back(std::chrono::duration<double>(Clock::now() - before).count() * static_cast<double>(hop) /
                     static_cast<double>(n));
    } while (each.size() < 5 ||
             (each.size() < 10000 && std::chrono::duration<double>(Clock::now() - started).count() < budget));
    std::nth_element(each.begin(), each.begin() + static_cast<std::ptrdiff_t>(each.size() / 2), each.end());
    stream->reset();
    return each[each.size() / 2];
  } catch (...) {
    stream->reset();
    return -1.0;
  }
}

}  // extern "C"
