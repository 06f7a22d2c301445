#include "host/sweep/plan.h"

#include <sys/stat.h>

#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>

#include "datasets/idmt.h"
#include "datasets/readers/reader.h"
#include "host/train/memory_plan.h"
#include "host/train/schedule.h"
#include "host/train/targets.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/safetensors.h"
#include "models/play/weights_file.h"
#include "models/registry.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

void make_absolute(RunConfig& c) {
  Fields fields = describe(c);
  make_paths_absolute(fields);
}

Json flat(RunConfig c) { return to_json(describe(c)); }

// Names, sizes and times of all files that the config reads.
void add_files(Hasher& hasher, const fs::path& path) {
  std::vector<fs::path> files;
  if (fs::is_directory(path)) {
    files = find_audio_files(path);
  } else {
    files.push_back(path);
  }
  for (const fs::path& f : files) {
    struct stat s {};
    if (stat(f.c_str(), &s) != 0) continue;
    hasher.add(fmt::format("{} {} {}.{}", f.string(), s.st_size, s.st_mtim.tv_sec, s.st_mtim.tv_nsec));
  }
}

}  // namespace

const RecordingFacts& DataCatalogue::facts(const DataConfig& config, int sample_rate) {
  DataConfig all = config;
  const std::string exact = to_toml(describe(all)) + std::to_string(sample_rate);
  const auto found = known_.find(exact);
  if (found != known_.end()) return found->second;
  const auto refused = refused_.find(exact);
  if (refused != refused_.end()) throw Error(refused->second);
  try {
    return known_.emplace(exact, read_facts(config, sample_rate, exact)).first->second;
  } catch (const WriteError&) {
    throw;
  } catch (const Error& e) {
    refused_.emplace(exact, e.what());
    throw;
  }
}

RecordingFacts DataCatalogue::read_facts(const DataConfig& config, int sample_rate, const std::string& exact) const {
  Hasher hasher;
  hasher.add(exact);
  for (const std::string& path : {config.path, config.dry, config.wet}) {
    if (!path.empty()) add_files(hasher, path);
  }
  const fs::path cached = store_ / ".content" / (hasher.hex() + ".json");
  RecordingFacts facts;
  const Json json = Store::read_json(cached);
  try {
    facts = {json.at("hash"),       json.at("samples"), json.at("training"),
             json.at("validation"), json.at("seconds"), json.at("warnings")};
  } catch (const Json::exception&) {
    const auto began = std::chrono::steady_clock::now();
    const Dataset data = load_dataset(config, sample_rate);
    const Split split = split_dataset(data, config);
    facts.hash = content_hash(data);
    double training = 0.0, validation = 0.0;
    for (const Pair& p : data.pairs) facts.samples += static_cast<double>(p.dry.size());
    for (const int i : split.train) training += static_cast<double>(data.pairs[static_cast<std::size_t>(i)].dry.size());
    for (const int i : split.validation) {
      validation += static_cast<double>(data.pairs[static_cast<std::size_t>(i)].dry.size());
    }
    facts.training = training / std::max(1.0, facts.samples);
    facts.validation = validation / std::max(1.0, facts.samples);
    facts.warnings = warning_lines(data);
    facts.seconds = std::chrono::duration<double>(std::chrono::steady_clock::now() - began).count();
    const Json known = {{"hash", facts.hash},         {"samples", facts.samples},
                        {"training", facts.training}, {"validation", facts.validation},
                        {"seconds", facts.seconds},   {"warnings", facts.warnings}};
    const std::string text = known.dump(-1, ' ', false, Json::error_handler_t::replace);
    std::error_code ignored;  // only a cache
    fs::create_directories(cached.parent_path(), ignored);
    std::ofstream(cached) << text;
  }
  return facts;
}

int DataCatalogue::rate(RunConfig config) {
  if (config.model->sample_rate > 0) return config.model->sample_rate;
  const std::string key = to_toml(describe(config.data)) + config.teacher.model;
  const auto found = rates_.find(key);
  if (found != rates_.end()) return found->second;
  choose_rate(config);
  return rates_.emplace(key, config.model->sample_rate).first->second;
}

namespace {

// Puts every field that `form` does not read back to what it is in `fresh`, the same fields of a fresh config.
void forget_unread(Fields fields, const Fields& fresh, const std::string& form) {
  const Json defaults = to_json(fresh);
  Json unread = Json::object();
  for (const Field& f : fields) {
    const bool reads = f.forms.empty() || std::find(f.forms.begin(), f.forms.end(), form) != f.forms.end();
    if (!reads) unread[f.name] = defaults.at(f.name);
  }
  set_fields(fields, unread, "pretraining");
}

// The text of the Error that read() throws about recordings; empty: it throws none.
template <class Read>
std::string refusal_of(Read read) {
  try {
    read();
  } catch (const WriteError&) {
    throw;
  } catch (const Error& e) {
    return e.what();
  }
  return "";
}

// Stands for the recordings in a run's hash. That of refused ones has the reason: mended, the run is another.
std::string identity(const RecordingFacts& facts, const std::string& refused) {
  return refused.empty() ? facts.hash : "refused: " + refused;
}

}  // namespace

RunConfig pretraining_of(const RunConfig& config, const std::vector<Setting>& pretrain) {
  RunConfig c = with_settings(config, pretrain, "[pretrain]");
  RunConfig defaults;
  c.preset = defaults.preset;
  forget_unread(describe(c.train), describe(defaults.train), kPretrain);
  c.train.epochs = c.train.refine_epochs = 0;
  const ModelType& type = model_type(c.model->type());
  const std::unique_ptr<ModelConfig> fresh = type.preset(type.presets().front());
  forget_unread(c.model->fields(), fresh->fields(), kPretrain);
  c.model->fit(kPretrain);
  return c;
}

std::string text_of(const RecordingWarning& w) {
  if (w.n_sets > 1) return fmt::format("{} ({} sets of recordings, the first: {})", w.text, w.n_sets, w.settings);
  return w.settings.empty() ? w.text : fmt::format("{}: {}", w.settings, w.text);
}

void Plan::warn(const RecordingFacts& facts, const Point& point) {
  Point of_data;
  for (const Setting& s : point) {
    if (s.first.rfind("data.", 0) == 0) of_data.push_back(s);
  }
  const std::string settings = of_data.empty() ? "" : label(of_data);
  if (facts.warnings.empty() || !warned_.insert(settings).second) return;
  for (const std::string& text : facts.warnings) {
    const auto known =
        std::find_if(warnings.begin(), warnings.end(), [&](const RecordingWarning& w) { return w.text == text; });
    if (known != warnings.end()) {
      ++known->n_sets;
    } else {
      warnings.push_back({text, settings});
    }
  }
}

int Plan::add(const Spec& spec, DataCatalogue& data, const Point& point) {
  const std::string where = spec.path.string() + ": " + label(point);
  RunConfig config = with_settings(spec.base, point, where);
  make_absolute(config);
  ++n_points;
  std::string refused = refusal_of([&] { config.model->sample_rate = data.rate(config); });
  if (refused.empty()) check(config, where);
  const auto frames_of = [](const RunConfig& c, const RecordingFacts& f) {
    double frames = 0.0;
    for (const Stage& s : stages_of(c)) frames += (s.reconstructs ? 2.0 : 1.0) * s.epochs;
    return frames * f.samples * f.training / samples_between_places(c);
  };
  const auto forward_of = [](const RunConfig& c, const RecordingFacts& f) {
    const Geometry g = c.model->geometry();
    const int hop = c.train.validation_hop > 0 ? c.train.validation_hop : g.hop;
    const double between = g.frame > 0 ? hop : samples_between_places(c);
    double times = 0.0;
    for (const Stage& s : stages_of(c)) times += s.reconstructs ? 0.0 : s.epochs;
    const double test = c.train.epochs > 0 ? std::max(0.0, 1.0 - f.training - f.validation) : 0.0;
    return (times * f.validation + test) * f.samples / between;
  };
  const auto size = [&](Task& t, const RunConfig& c, const RecordingFacts& f) {
    t.frames = frames_of(c, f);
    t.forward = forward_of(c, f);
    t.reading = f.seconds;
  };
  const auto put = [&](Task task, const RunConfig& c) {
    const auto [at, is_new] = by_key_.emplace(task.key, static_cast<int>(tasks.size()));
    if (is_new) {
      task.config = flat(c);
      task.point = point;
      tasks.push_back(std::move(task));
    }
    return at->second;
  };
  std::string init = config.train.init_from.empty() ? "" : weights_identity(config.train.init_from);
  const std::string teacher = config.teacher.model.empty() ? "" : weights_identity(weights_of_teacher(config));
  int parent = -1;
  if (refused.empty() && spec.sweep.share_pretraining && config.train.pretrain_epochs > 0 && config.train.epochs > 0) {
    const RunConfig first = pretraining_of(config, spec.pretrain);
    RecordingFacts facts;
    Task task;
    task.refused = refusal_of([&] { facts = data.facts(data_of(first), first.model->sample_rate); });
    task.kind = TaskKind::kPretrain;
    task.key = run_hash(first, identity(facts, task.refused), init, teacher);
    task.folder = "pretrain-" + task.key;
    if (task.refused.empty()) size(task, first, facts);
    parent = put(std::move(task), first);
    const Task& p = tasks[static_cast<std::size_t>(parent)];
    config.train.pretrain_epochs = 0;
    config.train.init_from =
        fs::absolute(fs::path(spec.sweep.store) / p.folder / "pretrained.safetensors").lexically_normal().string();
    init = p.key + "/pretrained";
  }
  RecordingFacts facts;
  if (refused.empty()) refused = refusal_of([&] { facts = data.facts(data_of(config), config.model->sample_rate); });
  warn(facts, point);
  Task task;
  task.refused = refused;
  task.key = run_hash(config, identity(facts, refused), init, teacher);
  task.kind = config.train.epochs > 0 ? TaskKind::kTrain : TaskKind::kPretrain;
  task.folder = (config.train.epochs > 0 ? config.preset : std::string("pretrain")) + "-" + task.key;
  task.parent = parent;
  if (refused.empty()) size(task, config, facts);
  return put(std::move(task), config);
}

Plan make_plan(const Spec& spec, DataCatalogue& data) {
  Plan plan;
  for (const Point& p : sample_points(spec)) plan.add(spec, data, p);
  const auto& tasks = plan.tasks;
  const auto can_run = [&](const Task& t) {
    const bool parent = t.parent < 0 || tasks[static_cast<std::size_t>(t.parent)].refused.empty();
    return t.kind == TaskKind::kTrain && t.refused.empty() && parent;
  };
  const auto refused = std::find_if(tasks.begin(), tasks.end(), [](const Task& t) { return !t.refused.empty(); });
  if (refused != tasks.end() && std::none_of(tasks.begin(), tasks.end(), can_run)) throw Error(refused->refused);
  return plan;
}

void close_refused(const std::vector<Task>& tasks, std::size_t first, const Store& store, double lease_seconds) {
  for (std::size_t i = first; i < tasks.size(); ++i) {
    const Task& t = tasks[i];
    if (t.refused.empty()) continue;
    store.make(t, t.parent >= 0 ? &tasks[static_cast<std::size_t>(t.parent)] : nullptr, lease_seconds);
    Outcome outcome;
    outcome.state = State::kFailed;
    outcome.reason = t.refused;
    Store::write_outcome(store.run(t), outcome);
  }
}

void prioritise(std::vector<Task>& tasks, const std::vector<std::string>& first) {
  constexpr double kFirst = 1e9;  // seconds: over what any run takes
  const auto length = [](const Task& t) { return t.of_steps.value_or(t.seconds); };
  for (Task& t : tasks) t.priority = length(t);
  // Children come after their parents.
  for (std::size_t i = tasks.size(); i-- > 0;) {
    Task& t = tasks[i];
    const std::string words = fmt::format(" {} ", label(t.point));
    // Twice the weight of the one behind it: a run of the first goes before one of all others together.
    double weight = kFirst;
    for (std::size_t k = first.size(); k-- > 0; weight *= 2.0) {
      if (words.find(fmt::format(" {} ", first[k])) != std::string::npos) t.priority += weight;
    }
    if (t.parent >= 0) {
      Task& p = tasks[static_cast<std::size_t>(t.parent)];
      p.priority = std::max(p.priority, length(p) + t.priority);
    }
  }
}

void write_tasks(const fs::path& path, const std::vector<Task>& tasks) {
  std::string text;
  for (const Task& t : tasks) {
    Json settings = Json::array();
    for (const auto& [key, value] : t.point) settings.push_back({key, value});
    text += Json{{"kind", to_string(t.kind)}, {"key", t.key},       {"folder", t.folder},    {"point", settings},
                 {"parent", t.parent},        {"config", t.config}, {"frames", t.frames},    {"seconds", t.seconds},
                 {"bytes", t.bytes},          {"shares", t.shares}, {"priority", t.priority}}
                .dump() +
            "\n";
  }
  write_file_atomically(path, text.data(), text.size());
}

namespace {

Task task_of(const Json& j) {
  Task t;
  t.kind = j.at("kind") == "pretrain" ? TaskKind::kPretrain : TaskKind::kTrain;
  t.key = j.at("key");
  t.folder = j.at("folder");
  t.parent = j.at("parent");
  for (const Json& s : j.at("point")) t.point.emplace_back(s.at(0).get<std::string>(), s.at(1));
  t.config = j.at("config");
  t.frames = j.value("frames", 0.0);
  t.seconds = j.value("seconds", 0.0);
  t.bytes = j.value("bytes", std::size_t{0});
  t.shares = j.value("shares", decltype(t.shares){});
  t.priority = j.value("priority", 0.0);
  return t;
}

}  // namespace

std::vector<Task> read_tasks(const fs::path& path) {
  std::ifstream in(path);
  if (!in) throw Error("{}: cannot be read; has the sweep been started? 'cafx sweep run FILE' makes it", path.string());
  std::vector<Task> tasks;
  for (std::string line; std::getline(in, line);) {
    try {
      tasks.push_back(task_of(Json::parse(line)));
    } catch (const Json::exception&) {
      throw Error("{}, line {}: is damaged; 'cafx sweep run FILE' writes it anew, and goes on where it was",
                  path.string(), tasks.size() + 1);
    }
  }
  return tasks;
}

}  // namespace cafx
