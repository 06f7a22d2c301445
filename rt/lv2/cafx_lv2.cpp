// The LV2 plugin: one channel through a model, by the same code as libcafx-rt. In a bundle that `cafx export` wrote it
// plays the model beside it, under an address of its own, with a port for each knob.
//
//   The audio thread takes no lock and allocates nothing. A model is read, and freed, in the host's worker thread; what
//   is ready is handed over by one atomic pointer. A change is heard as a fade of 10 ms to silence, the new model's
//   latency, and a fade of 10 ms up: two models never run at once, so a change costs no more than playing.
#include <dlfcn.h>
#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>
#include <lv2/core/lv2.h>
#include <lv2/core/lv2_util.h>
#include <lv2/log/logger.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "cafx_rt.h"
#include "models/play/plugin_bundle.h"

namespace {

constexpr const char* kUri = "urn:cafx:player";
constexpr const char* kModelUri = "urn:cafx:player#model";
constexpr std::size_t kPath = 4096, kPiece = 256;
constexpr double kFits = 0.7;  // of real time: the rest is for the host and for what varies

// A model that plays, made outside of the audio thread.
struct Engine {
  ~Engine() { cafx_rt_free(stream); }
  cafx_rt_stream* stream = nullptr;
  std::size_t latency = 0;
  std::vector<float> delay;  // of the dry signal: a ring of latency + 1 samples
  std::size_t at = 0;
  int hop_asked = 0, fitting_hop = 0;
  double load = 0.0;
  char path[kPath] = "";
  std::vector<float> knobs;  // what their ports were when they were last turned
  std::vector<std::pair<double, double>> ranges;
};

// A request to the worker.
struct Job {
  enum Kind { kLoad, kFree } kind;
  int hop;
  Engine* engine;
  char path[kPath];
};

struct Uris {
  LV2_URID path, string, object, patch_get, patch_set, patch_property, patch_value, model, urid;
};

float gain_of(float db) { return std::pow(10.0f, db / 20.0f); }

struct Plugin {
  double rate = 48000.0;
  const void* ports_in[cafx::kPluginPorts + cafx::kPluginKnobs] = {};
  bool own_model = false;  // the bundle's; no other is loaded
  Uris uris{};
  LV2_URID_Map* map = nullptr;
  LV2_Worker_Schedule* worker = nullptr;
  LV2_Log_Logger logger{};
  LV2_Atom_Forge forge{};

  std::atomic<Engine*> incoming{nullptr};
  std::atomic<Engine*> spent{nullptr};  // in a host without worker: what the next load frees
  Engine* engine = nullptr;             // of the audio thread
  Engine* retired = nullptr;            // waits for the worker
  bool busy = false;                    // a load is pending; a failed load ends it too
  std::atomic<bool> failed{false};
  int hop = 0;
  bool started = false, tell = false;
  float fade = 1.0f;
  std::size_t silent = 0;  // samples of silence before it fades in
  float in_gain = 1.0f, out_gain = 1.0f, mix = 1.0f, enabled = 1.0f;
  Job job{};

  std::mutex model_mutex;  // of worker, save and restore; never of the audio thread
  cafx_rt_model* model = nullptr;
  std::string model_path;

  ~Plugin() {
    delete engine;
    delete retired;
    delete incoming.load();
    delete spent.load();
    cafx_rt_free_model(model);
  }

  float control(int port) const { return *static_cast<const float*>(ports_in[port]); }
  void report(int port, float value) const {
    if (ports_in[port]) *static_cast<float*>(const_cast<void*>(ports_in[port])) = value;
  }

  // Not in the audio thread. An empty path: the model that is there, at another hop.
  void load(const char* path, int wanted_hop) {
    delete spent.exchange(nullptr);
    std::unique_ptr<Engine> made;
    try {
      made = make(path, wanted_hop);
    } catch (const std::exception& e) {
      lv2_log_error(&logger, "cafx: %s\n", e.what());
    }
    if (made) {
      delete incoming.exchange(made.release());
    } else {
      failed.store(true);
    }
  }

  double load_at(int at_hop, double budget, Engine* keep) {
    char why[512];
    cafx_rt_info info{};
    info.size = sizeof info;
    cafx_rt_describe(model, &info);
    if (!keep && at_hop > info.frame / 2) return -1.0;
    cafx_rt_options o = CAFX_RT_OPTIONS_INIT;
    o.host_rate = rate;
    o.hop = std::min(at_hop, info.frame / 2);
    cafx_rt_stream* s = cafx_rt_prepare(model, &o, why, sizeof why);
    if (!s) {
      if (keep) lv2_log_error(&logger, "cafx: %s\n", why);
      return -1.0;
    }
    const double result = cafx_rt_frame_seconds(s, budget) * info.sample_rate / cafx_rt_hop(s);
    if (keep) {
      keep->stream = s;
    } else {
      cafx_rt_free(s);
    }
    return result;
  }

  std::unique_ptr<Engine> make(const char* path, int wanted_hop) {
    const std::lock_guard lock(model_mutex);
    char why[1024];
    if (*path) {
      cafx_rt_model* read = cafx_rt_load(path, why, sizeof why);
      if (!read) {
        lv2_log_error(&logger, "cafx: %s\n", why);
        return nullptr;
      }
      cafx_rt_free_model(model);
      model = read;
      model_path = path;
    }
    if (!model) return nullptr;
    auto e = std::make_unique<Engine>();
    e->load = load_at(wanted_hop, 0.1, e.get());
    if (!e->stream) return nullptr;
    e->latency = cafx_rt_latency(e->stream);
    e->delay.assign(e->latency + 1, 0.0f);
    e->hop_asked = wanted_hop;
    for (std::int32_t k = 0; k < cafx_rt_knobs(model) && k < cafx::kPluginKnobs; ++k) {
      cafx_rt_knob_info knob{};
      knob.size = sizeof knob;
      cafx_rt_knob(model, k, &knob);
      e->knobs.push_back(static_cast<float>(knob.start));
      e->ranges.emplace_back(knob.min, knob.max);
    }
    std::snprintf(e->path, sizeof e->path, "%s", model_path.c_str());
    int largest = 0;  // that the frame allows
    const bool by_frames = cafx_rt_hop(e->stream) > 1;
    for (int h = 64; by_frames && h <= 2048 && e->fitting_hop == 0; h *= 2) {
      const double l = load_at(h, 0.03, nullptr);
      if (l < 0.0) break;
      largest = h;
      if (l < kFits) e->fitting_hop = h;
    }
    if (e->load >= kFits) {
      if (!by_frames) {
        lv2_log_warning(&logger, "cafx: this model takes %.0f %% of this processor's time\n", 100.0 * e->load);
      } else if (e->fitting_hop > 0) {
        lv2_log_warning(&logger, "cafx: hop %d takes %.0f %% of this processor's time; hop %d fits, set Hop to it\n",
                        cafx_rt_hop(e->stream), 100.0 * e->load, e->fitting_hop);
      } else {
        lv2_log_warning(&logger, "cafx: hop %d takes %.0f %% of this processor's time, and no hop up to %d fits\n",
                        cafx_rt_hop(e->stream), 100.0 * e->load, largest);
      }
    }
    return e;
  }

  bool ask(Job::Kind kind, const char* path, std::size_t n, int wanted_hop, Engine* e) {
    if (!worker || n >= kPath) return false;
    job.kind = kind;
    job.hop = wanted_hop;
    job.engine = e;
    std::memcpy(job.path, path, n);
    job.path[n] = 0;
    const auto size = static_cast<std::uint32_t>(offsetof(Job, path) + n + 1);
    return worker->schedule_work(worker->handle, size, &job) == LV2_WORKER_SUCCESS;
  }

  void read_messages() {
    const auto* sequence = static_cast<const LV2_Atom_Sequence*>(ports_in[0]);
    if (!sequence) return;
    LV2_ATOM_SEQUENCE_FOREACH(sequence, event) {
      if (!lv2_atom_forge_is_object_type(&forge, event->body.type)) continue;
      const auto* object = reinterpret_cast<const LV2_Atom_Object*>(&event->body);
      if (object->body.otype == uris.patch_get) tell = true;
      if (object->body.otype != uris.patch_set || own_model) continue;
      const LV2_Atom *property = nullptr, *value = nullptr;
      lv2_atom_object_get(object, uris.patch_property, &property, uris.patch_value, &value, 0);
      if (!property || property->type != uris.urid || !value) continue;
      if (reinterpret_cast<const LV2_Atom_URID*>(property)->body != uris.model) continue;
      if (value->type != uris.path && value->type != uris.string) continue;
      const char* text = static_cast<const char*>(LV2_ATOM_BODY_CONST(value));
      busy = ask(Job::kLoad, text, strnlen(text, value->size), hop, nullptr) || busy;
    }
  }

  void write_messages() {
    auto* out = static_cast<LV2_Atom_Sequence*>(const_cast<void*>(ports_in[1]));
    if (!out) return;
    lv2_atom_forge_set_buffer(&forge, reinterpret_cast<std::uint8_t*>(out), out->atom.size);
    LV2_Atom_Forge_Frame all;
    lv2_atom_forge_sequence_head(&forge, &all, 0);
    if (tell && engine) {
      LV2_Atom_Forge_Frame frame;
      lv2_atom_forge_frame_time(&forge, 0);
      lv2_atom_forge_object(&forge, &frame, 0, uris.patch_set);
      lv2_atom_forge_key(&forge, uris.patch_property);
      lv2_atom_forge_urid(&forge, uris.model);
      lv2_atom_forge_key(&forge, uris.patch_value);
      lv2_atom_forge_path(&forge, engine->path, static_cast<std::uint32_t>(std::strlen(engine->path)));
      lv2_atom_forge_pop(&forge, &frame);
    }
    tell = false;
    lv2_atom_forge_pop(&forge, &all);
  }

  // To whoever frees it, not in the audio thread; false: it has to wait.
  bool hand_on(Engine* e) {
    if (worker) return ask(Job::kFree, "", 0, 0, e);
    Engine* none = nullptr;
    return spent.compare_exchange_strong(none, e);
  }

  // Between two pieces: silence is reached, or nothing has sounded yet.
  void change() {
    if (retired && hand_on(retired)) retired = nullptr;
    if (retired || (started && fade > 0.0f)) return;
    Engine* next = incoming.exchange(nullptr);
    if (!next) return;
    retired = engine;
    engine = next;
    busy = false;
    tell = true;
    silent = started ? engine->latency : 0;
  }

  void turn_knobs() {
    for (std::size_t k = 0; engine && k < engine->knobs.size(); ++k) {
      if (!ports_in[cafx::kPluginPorts + k]) continue;
      const float value = control(cafx::kPluginPorts + static_cast<int>(k));
      if (value == engine->knobs[k]) continue;
      const auto [lo, hi] = engine->ranges[k];  // which a host may overstep
      cafx_rt_set_knob(engine->stream, static_cast<std::int32_t>(k), std::clamp<double>(value, lo, hi));
      engine->knobs[k] = value;
    }
  }

  void piece(const float* in, float* out, std::size_t n) {
    const bool leaving = incoming.load(std::memory_order_relaxed) != nullptr && !retired;
    const auto near = [](float value, float target) {  // in some 5 ms, then exactly
      return std::abs(value - target) < 1e-5f ? target : value + 0.004f * (target - value);
    };
    const float in_target = gain_of(control(4)), out_target = gain_of(control(5));
    const float mix_target = std::clamp(control(6), 0.0f, 1.0f), enabled_target = control(7) > 0.5f ? 1.0f : 0.0f;
    if (!started) in_gain = in_target, out_gain = out_target, mix = mix_target, enabled = enabled_target;
    started = true;
    const auto step = static_cast<float>(1.0 / (0.01 * rate));
    float dry[kPiece] = {}, wet[kPiece] = {};
    for (std::size_t i = 0; i < n; ++i) {
      const float x = std::isfinite(in[i]) ? in[i] : 0.0f;
      in_gain = near(in_gain, in_target);
      wet[i] = x * in_gain;
      dry[i] = x;
      if (!engine) continue;
      const std::size_t size = engine->delay.size();
      engine->delay[engine->at] = x;
      engine->at = engine->at + 1 == size ? 0 : engine->at + 1;
      dry[i] = engine->delay[engine->at];
    }
    if (engine) {
      cafx_rt_process(engine->stream, wet, wet, n);
    } else {
      std::copy_n(dry, n, wet);  // no model: as it came
    }
    for (std::size_t i = 0; i < n; ++i) {
      out_gain = near(out_gain, out_target);
      mix = near(mix, mix_target);
      enabled = near(enabled, enabled_target);
      if (silent > 0) {
        --silent;
        fade = 0.0f;
      } else {
        fade = std::clamp(fade + (leaving ? -step : step), 0.0f, 1.0f);
      }
      const float effect = out_gain * (mix * wet[i] + (1.0f - mix) * dry[i]);
      out[i] = fade * (enabled * effect + (1.0f - enabled) * dry[i]);
    }
  }

  void run(std::size_t n) {
    read_messages();
    const int wanted = std::max(0, static_cast<int>(std::lround(control(8))));
    if (failed.exchange(false)) busy = false;
    if (wanted != hop && !busy) {
      hop = wanted;
      if (engine && engine->hop_asked != hop) busy = ask(Job::kLoad, "", 0, hop, nullptr);
    }
    const auto* in = static_cast<const float*>(ports_in[2]);
    auto* out = static_cast<float*>(const_cast<void*>(ports_in[3]));
    if (n == 0) change();  // a host that only asks for the latency
    while (n > 0) {
      change();
      turn_knobs();
      const std::size_t m = std::min(n, kPiece);
      piece(in, out, m);
      in += m;
      out += m;
      n -= m;
    }
    report(9, engine ? static_cast<float>(engine->latency) : 0.0f);
    report(10, engine ? static_cast<float>(100.0 * engine->load) : 0.0f);
    report(11, engine ? static_cast<float>(engine->fitting_hop) : 0.0f);
    write_messages();
  }
};

Plugin* self(LV2_Handle handle) { return static_cast<Plugin*>(handle); }

LV2_Handle instantiate(const LV2_Descriptor* descriptor, double rate, const char* bundle,
                       const LV2_Feature* const* features) {
  auto* p = new (std::nothrow) Plugin;
  if (!p) return nullptr;
  p->rate = rate;
  const char* missing = lv2_features_query(features, LV2_LOG__log, &p->logger.log, false, LV2_URID__map, &p->map, true,
                                           LV2_WORKER__schedule, &p->worker, false, nullptr);
  lv2_log_logger_set_map(&p->logger, p->map);
  if (missing) {
    lv2_log_error(&p->logger, "cafx: the host does not offer %s\n", missing);
    delete p;
    return nullptr;
  }
  const auto id = [&](const char* uri) { return p->map->map(p->map->handle, uri); };
  p->uris = {id(LV2_ATOM__Path),   id(LV2_ATOM__String), id(LV2_ATOM__Object),
             id(LV2_PATCH__Get),   id(LV2_PATCH__Set),   id(LV2_PATCH__property),
             id(LV2_PATCH__value), id(kModelUri),        id(LV2_ATOM__URID)};
  lv2_atom_forge_init(&p->forge, p->map);
  p->own_model = std::strcmp(descriptor->URI, kUri) != 0;
  if (!p->own_model) return p;
  p->load((std::filesystem::path(bundle) / cafx::kPluginModelFile).c_str(), 0);
  if (p->incoming.load()) return p;
  delete p;  // the log has the reason
  return nullptr;
}

void connect_port(LV2_Handle handle, std::uint32_t port, void* data) {
  if (port < cafx::kPluginPorts + cafx::kPluginKnobs) self(handle)->ports_in[port] = data;
}

void activate(LV2_Handle handle) {
  Plugin* p = self(handle);
  p->started = false;
  p->fade = 1.0f;
  p->silent = 0;
  if (!p->engine) return;
  cafx_rt_reset(p->engine->stream);
  std::fill(p->engine->delay.begin(), p->engine->delay.end(), 0.0f);
}

void run(LV2_Handle handle, std::uint32_t n) { self(handle)->run(n); }
void cleanup(LV2_Handle handle) { delete self(handle); }

LV2_Worker_Status work(LV2_Handle handle, LV2_Worker_Respond_Function, LV2_Worker_Respond_Handle, std::uint32_t size,
                       const void* data) {
  Job job;
  if (size > sizeof job) return LV2_WORKER_ERR_UNKNOWN;
  std::memcpy(&job, data, size);
  if (job.kind == Job::kFree) {
    delete job.engine;
  } else {
    self(handle)->load(job.path, job.hop);
  }
  return LV2_WORKER_SUCCESS;
}

LV2_Worker_Status work_response(LV2_Handle, std::uint32_t, const void*) { return LV2_WORKER_SUCCESS; }

LV2_State_Status save(LV2_Handle handle, LV2_State_Store_Function store, LV2_State_Handle state, std::uint32_t,
                      const LV2_Feature* const* features) {
  Plugin* p = self(handle);
  const std::lock_guard lock(p->model_mutex);
  if (p->model_path.empty() || p->own_model) return LV2_STATE_SUCCESS;
  LV2_State_Map_Path* map_path = nullptr;
  LV2_State_Free_Path* free_path = nullptr;
  lv2_features_query(features, LV2_STATE__mapPath, &map_path, false, LV2_STATE__freePath, &free_path, false, nullptr);
  if (!map_path) return LV2_STATE_ERR_NO_FEATURE;
  char* path = map_path->abstract_path(map_path->handle, p->model_path.c_str());
  if (!path) return LV2_STATE_ERR_UNKNOWN;
  const auto status =
      store(state, p->uris.model, path, std::strlen(path) + 1, p->uris.path, LV2_STATE_IS_POD | LV2_STATE_IS_PORTABLE);
  free_path ? free_path->free_path(free_path->handle, path) : std::free(path);
  return status;
}

LV2_State_Status restore(LV2_Handle handle, LV2_State_Retrieve_Function retrieve, LV2_State_Handle state, std::uint32_t,
                         const LV2_Feature* const* features) {
  Plugin* p = self(handle);
  if (p->own_model) return LV2_STATE_SUCCESS;
  std::size_t size = 0;
  LV2_URID type = 0;
  std::uint32_t flags = 0;
  const void* value = retrieve(state, p->uris.model, &size, &type, &flags);
  if (!value) return LV2_STATE_SUCCESS;  // it was saved without a model
  if (type != p->uris.path) return LV2_STATE_ERR_BAD_TYPE;
  LV2_State_Map_Path* map_path = nullptr;
  LV2_State_Free_Path* free_path = nullptr;
  lv2_features_query(features, LV2_STATE__mapPath, &map_path, false, LV2_STATE__freePath, &free_path, false, nullptr);
  if (!map_path) return LV2_STATE_ERR_NO_FEATURE;
  char* path = map_path->absolute_path(map_path->handle, static_cast<const char*>(value));
  if (!path) return LV2_STATE_ERR_UNKNOWN;
  const int hop = p->ports_in[8] ? std::max(0, static_cast<int>(std::lround(p->control(8)))) : 0;
  p->load(path, hop);
  free_path ? free_path->free_path(free_path->handle, path) : std::free(path);
  return LV2_STATE_SUCCESS;
}

const void* extension_data(const char* uri) {
  static const LV2_State_Interface state{save, restore};
  static const LV2_Worker_Interface worker{work, work_response, nullptr};
  if (std::strcmp(uri, LV2_STATE__interface) == 0) return &state;
  if (std::strcmp(uri, LV2_WORKER__interface) == 0) return &worker;
  return nullptr;
}

const LV2_Descriptor kDescriptor{kUri, instantiate, connect_port, activate, run, nullptr, cleanup, extension_data};

// The address of what this bundle holds: the player, or a model of its own. The program finds its bundle by itself,
// since hosts that know lv2_descriptor ask nothing else.
std::string own_uri() {
  Dl_info program{};
  if (!dladdr(&kDescriptor, &program) || !program.dli_fname) return kUri;
  std::ifstream file(std::filesystem::path(program.dli_fname).parent_path() / cafx::kPluginUriFile);
  std::string uri;
  return file && std::getline(file, uri) && !uri.empty() ? uri : kUri;
}

}  // namespace

LV2_SYMBOL_EXPORT const LV2_Descriptor* lv2_descriptor(std::uint32_t index) {
  static const std::string uri = own_uri();
  static const LV2_Descriptor descriptor = [] {
    LV2_Descriptor d = kDescriptor;
    d.URI = uri.c_str();
    return d;
  }();
  return index == 0 ? &descriptor : nullptr;
}
