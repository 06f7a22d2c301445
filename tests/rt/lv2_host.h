// tests/rt/lv2_host.h -- a host made of lilv, with a worker thread of its own, for the tests of the plugin.
#pragma once

#include <gtest/gtest.h>
#include <lilv/lilv.h>
#include <lv2/atom/forge.h>
#include <lv2/atom/util.h>
#include <lv2/log/log.h>
#include <lv2/patch/patch.h>
#include <lv2/state/state.h>
#include <lv2/urid/urid.h>
#include <lv2/worker/worker.h>

#include <atomic>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <cstring>
#include <map>
#include <mutex>
#include <string>
#include <thread>
#include <utility>
#include <vector>

namespace cafx::lv2_test {

inline constexpr const char* kUri = "urn:cafx:player";

struct Urids {
  std::mutex mutex;
  std::map<std::string, LV2_URID> ids;
  std::vector<std::string> names;
  static LV2_URID map(LV2_URID_Map_Handle h, const char* uri) {
    auto& u = *static_cast<Urids*>(h);
    const std::lock_guard lock(u.mutex);
    const auto [at, added] = u.ids.try_emplace(uri, static_cast<LV2_URID>(u.ids.size() + 1));
    if (added) u.names.emplace_back(uri);
    return at->second;
  }
  static const char* unmap(LV2_URID_Unmap_Handle h, LV2_URID id) {
    auto& u = *static_cast<Urids*>(h);
    const std::lock_guard lock(u.mutex);
    return id >= 1 && id <= u.names.size() ? u.names[id - 1].c_str() : nullptr;
  }
};

struct World {
  explicit World(const char* folder = CAFX_LV2_BUNDLE "/", const char* address = kUri) : world(lilv_world_new()) {
    LilvNode* bundle = lilv_new_file_uri(world, nullptr, folder);
    lilv_world_load_bundle(world, bundle);
    lilv_node_free(bundle);
    LilvNode* uri = lilv_new_uri(world, address);
    plugin = lilv_plugins_get_by_uri(lilv_world_get_all_plugins(world), uri);
    lilv_node_free(uri);
  }
  ~World() { lilv_world_free(world); }
  LilvWorld* world;
  const LilvPlugin* plugin = nullptr;
  Urids urids;
  LV2_URID_Map map{&urids, Urids::map};
  LV2_URID_Unmap unmap{&urids, Urids::unmap};
};

// One instance, with one job at a time waiting for its worker.
class Host {
 public:
  Host(World& w, double rate, bool with_worker = true) : w_(w) {
    schedule_ = {this, [](LV2_Worker_Schedule_Handle h, std::uint32_t size, const void* data) {
                   auto& self = *static_cast<Host*>(h);
                   if (self.waiting_.load() || size > sizeof self.job_) return LV2_WORKER_ERR_NO_SPACE;
                   std::memcpy(self.job_, data, size);
                   self.job_size_ = size;
                   self.waiting_.store(true);
                   return LV2_WORKER_SUCCESS;
                 }};
    features_[0] = {LV2_URID__map, &w.map};
    log_ = {this, print, vprint};
    features_[1] = {LV2_LOG__log, &log_};
    features_[2] = {LV2_WORKER__schedule, &schedule_};
    if (!with_worker) list_[2] = nullptr;
    instance_ = lilv_plugin_instantiate(w.plugin, rate, list_);
    if (!instance_) throw std::runtime_error("the plugin cannot be instantiated");
    worker_ =
        static_cast<const LV2_Worker_Interface*>(lilv_instance_get_extension_data(instance_, LV2_WORKER__interface));
    lilv_instance_connect_port(instance_, 0, control_);
    lilv_instance_connect_port(instance_, 1, notify_);
    for (std::uint32_t i = 4; i < lilv_plugin_get_num_ports(w.plugin); ++i) {
      lilv_instance_connect_port(instance_, i, &value[i]);
    }
    lv2_atom_forge_init(&forge_, &w.map);
    clear();
    thread_ = std::thread([this] {
      while (!stop_.load()) {
        if (waiting_.load()) {
          alignas(16) char copy[sizeof job_];
          const std::uint32_t n = job_size_;
          std::memcpy(copy, job_, n);
          waiting_.store(false);
          worker_->work(lilv_instance_get_handle(instance_), nullptr, nullptr, n, copy);
          ++n_jobs_done;
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
      }
    });
  }
  ~Host() {
    stop_.store(true);
    thread_.join();
    lilv_instance_free(instance_);
  }

  void activate() { lilv_instance_activate(instance_); }

  void set_model(const std::string& path) {
    const auto id = [&](const char* uri) { return Urids::map(&w_.urids, uri); };
    lv2_atom_forge_set_buffer(&forge_, control_, sizeof control_);
    LV2_Atom_Forge_Frame all, object;
    lv2_atom_forge_sequence_head(&forge_, &all, 0);
    lv2_atom_forge_frame_time(&forge_, 0);
    lv2_atom_forge_object(&forge_, &object, 0, id(LV2_PATCH__Set));
    lv2_atom_forge_key(&forge_, id(LV2_PATCH__property));
    lv2_atom_forge_urid(&forge_, id("urn:cafx:player#model"));
    lv2_atom_forge_key(&forge_, id(LV2_PATCH__value));
    lv2_atom_forge_path(&forge_, path.c_str(), static_cast<std::uint32_t>(path.size()));
    lv2_atom_forge_pop(&forge_, &object);
    lv2_atom_forge_pop(&forge_, &all);
  }

  // x through the plugin in blocks; allocations and locks of run alone are counted.
  std::vector<float> run(std::vector<float> x, std::size_t block) {
    for (std::size_t at = 0; at < x.size(); at += block) {
      const std::size_t n = std::min(block, x.size() - at);
      lilv_instance_connect_port(instance_, 2, x.data() + at);
      lilv_instance_connect_port(instance_, 3, x.data() + at);
      reinterpret_cast<LV2_Atom*>(notify_)->size = sizeof notify_ - sizeof(LV2_Atom);
      const long allocations = n_allocations, locks = n_locks;
      lilv_instance_run(instance_, static_cast<std::uint32_t>(n));
      allocated += n_allocations - allocations;
      locked += n_locks - locks;
      clear();
    }
    return x;
  }

  LilvInstance* instance() { return instance_; }
  const LV2_Feature* const* features() { return list_; }

  // What the plugin wrote to the host's log since it was last asked for.
  std::string said() {
    const std::lock_guard lock(said_mutex_);
    return std::exchange(said_, "");
  }

  float value[16] = {0, 0, 0, 0, 0, 0, 1, 1};  // by port
  long allocated = 0, locked = 0;
  std::atomic<int> n_jobs_done{0};

 private:
  static int print(LV2_Log_Handle h, LV2_URID type, const char* format, ...) {
    std::va_list list;
    va_start(list, format);
    const int n = vprint(h, type, format, list);
    va_end(list);
    return n;
  }
  static int vprint(LV2_Log_Handle h, LV2_URID, const char* format, std::va_list list) {
    char line[1024];
    const int n = std::vsnprintf(line, sizeof line, format, list);
    auto& self = *static_cast<Host*>(h);
    const std::lock_guard lock(self.said_mutex_);
    self.said_ += line;
    return n;
  }
  void clear() {
    lv2_atom_forge_set_buffer(&forge_, control_, sizeof control_);
    LV2_Atom_Forge_Frame all;
    lv2_atom_forge_sequence_head(&forge_, &all, 0);
    lv2_atom_forge_pop(&forge_, &all);
  }

  World& w_;
  LilvInstance* instance_ = nullptr;
  const LV2_Worker_Interface* worker_ = nullptr;
  LV2_Worker_Schedule schedule_{};
  LV2_Log_Log log_{};
  LV2_Feature features_[3]{};
  const LV2_Feature* list_[4] = {&features_[0], &features_[1], &features_[2], nullptr};
  std::mutex said_mutex_;
  std::string said_;
  LV2_Atom_Forge forge_{};
  alignas(8) std::uint8_t control_[16384]{}, notify_[16384]{};
  alignas(16) char job_[8192]{};
  std::uint32_t job_size_ = 0;
  std::atomic<bool> waiting_{false}, stop_{false};
  std::thread thread_;
};

}  // namespace cafx::lv2_test
