#include "host/sweep/spec.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <toml++/toml.h>
#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <iterator>

#include "host/metrics/metrics.h"
#include "host/train/results.h"
#include "host/train/run_folder.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

constexpr std::size_t kMostValues = 100000;  // of one axis

const std::vector<std::string>& axis_words() {
  static const std::vector<std::string> words{"values", "range", "linear", "log", "points", "when", "cross"};
  return words;
}

bool is_axis_word(const std::string& key) {
  return std::find(axis_words().begin(), axis_words().end(), key) != axis_words().end();
}

Json to_json_value(const toml::node& node, const std::string& where) {
  if (const auto* v = node.as_boolean()) return v->get();
  if (const auto* v = node.as_integer()) return v->get();
  if (const auto* v = node.as_floating_point()) return v->get();
  if (const auto* v = node.as_string()) return v->get();
  if (const auto* list = node.as_array()) {
    Json array = Json::array();
    for (const auto& element : *list) array.push_back(to_json_value(element, where));
    return array;
  }
  throw Error("{}: expected a value or a list here", where);
}

// Reads one file; knows the keys of the base config, so that every message can name the nearest.
class SpecReader {
 public:
  SpecReader(Spec& spec, std::string where) : spec_(spec), where_(std::move(where)) {
    for (const Field& f : describe(spec_.base)) known_.push_back(f.name);
  }

  void axes(const toml::table& table, const std::string& prefix) {
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      const auto* inner = node.as_table();
      const bool key_of_axis = std::find(known_.begin(), known_.end(), name) != known_.end();
      if (inner && !key_of_axis && std::none_of(inner->begin(), inner->end(), [](const auto& e) {
            return is_axis_word(std::string(e.first.str()));
          })) {
        axes(*inner, name + ".");
      } else {
        add_axis(name, node);
      }
    }
  }

  // A table of plain settings, nested or dotted or quoted.
  std::vector<Setting> settings(const toml::table& table, const std::string& prefix) {
    std::vector<Setting> all;
    for (const auto& [key, node] : table) {
      const std::string name = prefix + std::string(key.str());
      if (const auto* inner = node.as_table()) {
        const auto below = settings(*inner, name + ".");
        all.insert(all.end(), below.begin(), below.end());
        continue;
      }
      all.emplace_back(name, to_json_value(node, line(node)));
      RunConfig probe = spec_.base;
      Fields fields = describe(probe);
      set_fields(fields, Json{{name, all.back().second}}, line(node));
    }
    return all;
  }

  std::string line(const toml::node& node) const { return fmt::format("{}:{}", where_, node.source().begin.line); }

 private:
  void add_axis(const std::string& name, const toml::node& node) {
    Axis axis;
    axis.where = line(node) + ": axes." + name;
    for (std::size_t at = 0; at <= name.size();) {
      const std::size_t plus = std::min(name.find('+', at), name.size());
      std::string key = name.substr(at, plus - at);
      key.erase(0, key.find_first_not_of(' '));
      key.erase(key.find_last_not_of(' ') + 1);
      if (std::find(known_.begin(), known_.end(), key) == known_.end()) {
        throw Error("{}: unknown key '{}'{}", line(node), key.substr(0, 100), did_you_mean(key, known_));
      }
      if (key == "preset" || key == "model.type") {
        throw Error("{}: {} cannot be an axis, since it decides all other defaults; write a sweep for each", line(node),
                    key == "preset" ? "the preset" : key);
      }
      if (std::find(axis.keys.begin(), axis.keys.end(), key) != axis.keys.end()) {
        throw Error("{}: names '{}' twice", axis.where, key);
      }
      axis.keys.push_back(key);
      at = plus + 1;
    }
    axis.crossed = std::any_of(axis.keys.begin(), axis.keys.end(), [](const std::string& key) {
      return key == "train.seed" || key.rfind("data.", 0) == 0;
    });
    RunConfig probe = spec_.base;
    for (const Field& f : describe(probe)) {
      if (f.name == axis.keys[0])
        axis.whole = std::holds_alternative<int*>(f.value) || std::holds_alternative<std::int64_t*>(f.value);
    }
    if (const auto* table = node.as_table()) {
      read_table(axis, *table);
    } else if (node.is_array()) {
      list(axis, to_json_value(node, axis.where));
    } else {
      throw Error("{}: expected a list of values, or a table with one of {}", axis.where,
                  fmt::join(axis_words(), ", "));
    }
    check_values(axis);
    for (const Axis& other : spec_.axes) refuse_shared_key(axis, other);
    spec_.axes.push_back(std::move(axis));
  }

  // One key on two axes that can both count: the later would silently win.
  static void refuse_shared_key(const Axis& axis, const Axis& other) {
    for (const std::string& key : axis.keys) {
      if (std::find(other.keys.begin(), other.keys.end(), key) == other.keys.end()) continue;
      const bool apart = std::any_of(axis.when.begin(), axis.when.end(), [&](const Setting& a) {
        return std::any_of(other.when.begin(), other.when.end(),
                           [&](const Setting& b) { return a.first == b.first && a.second != b.second; });
      });
      if (apart) continue;
      throw Error("{}: '{}' is on this axis and on {}; give each key one axis, or axes whose `when` exclude each other",
                  axis.where, key, other.where);
    }
  }

  void read_table(Axis& axis, const toml::table& table) {
    int n_kinds = 0, points = 0;
    const auto numbers = [&](const toml::node& node, std::size_t n, const char* what) {
      const Json json = to_json_value(node, axis.where);
      if (!json.is_array() || json.size() != n ||
          std::any_of(json.begin(), json.end(), [](const Json& v) { return !v.is_number(); })) {
        throw Error("{}: expected {}", axis.where, what);
      }
      return json.get<std::vector<double>>();
    };
    for (const auto& [key, node] : table) {
      const std::string word(key.str());
      if (!is_axis_word(word)) {
        throw Error("{}: unknown word '{}'{}", axis.where, word.substr(0, 100), did_you_mean(word, axis_words(), true));
      }
      if (word == "values") {
        list(axis, to_json_value(node, axis.where));
        ++n_kinds;
      } else if (word == "range") {
        range(axis, numbers(node, 3, "range = [first, last, step]"));
        ++n_kinds;
      } else if (word == "linear" || word == "log") {
        const auto ends = numbers(node, 2, "two numbers, [lowest, highest]");
        axis.lo = ends[0], axis.hi = ends[1], axis.log = word == "log";
        if (!(axis.lo < axis.hi) || (axis.log && axis.lo <= 0.0)) {
          throw Error("{}: {} = [{}, {}]; expected {}", axis.where, word, axis.lo, axis.hi,
                      axis.log ? "0 < lowest < highest" : "lowest < highest");
        }
        ++n_kinds;
      } else if (word == "points") {
        const auto n = node.value<std::int64_t>();
        if (!n || *n < 2 || *n > static_cast<std::int64_t>(kMostValues)) {
          throw Error("{}: points: expected a whole number from 2 to {}", axis.where, kMostValues);
        }
        points = static_cast<int>(*n);
      } else if (word == "cross") {
        const auto cross = node.value<bool>();
        if (!cross) throw Error("{}: cross: expected true or false", axis.where);
        axis.crossed = *cross;
      } else {
        if (!node.is_table()) throw Error("{}: when: expected a table of settings", axis.where);
        axis.when = settings(*node.as_table(), "");
      }
    }
    if (n_kinds != 1)
      throw Error("{}: expected exactly one of values, range, linear, log; found {}", axis.where, n_kinds);
    if (points > 0 && axis.continuous()) {
      for (int i = 0; i < points; ++i) {
        const double along = static_cast<double>(i) / (points - 1);
        axis.values.push_back({axis_value(axis, along)});
      }
    }
  }

  static Json axis_value(const Axis& axis, double along) {
    double x = axis.log ? axis.lo * std::pow(axis.hi / axis.lo, along) : axis.lo + (axis.hi - axis.lo) * along;
    x = std::clamp(x, axis.lo, axis.hi);
    if (axis.whole) return static_cast<std::int64_t>(std::llround(x));
    return x;
  }

  // How many decimals a number has as it was written: 0.25 has two, 3e-4 four.
  static int decimals_of(double x) {
    const std::string shortest = fmt::format("{}", x);
    const std::size_t e = shortest.find('e'), dot = shortest.find('.');
    const int digits = dot == std::string::npos ? 0 : static_cast<int>(std::min(e, shortest.size()) - dot - 1);
    return std::max(0, digits - (e == std::string::npos ? 0 : std::stoi(shortest.substr(e + 1))));
  }
  // The double nearest to the decimal number, not what sums of doubles come to: 0.1 + 2 x 0.1 is 0.3.
  static double rounded(double x, int decimals) {
    return decimals > 17 ? x : std::strtod(fmt::format("{:.{}f}", x, decimals).c_str(), nullptr);
  }

  void range(Axis& axis, const std::vector<double>& r) {
    const double n = r[2] != 0.0 ? (r[1] - r[0]) / r[2] : -1.0;
    if (!(n >= 0.0) || n > static_cast<double>(kMostValues)) {
      throw Error("{}: range = [{}, {}, {}]: expected a step that leads from first to last in at most {} values",
                  axis.where, r[0], r[1], r[2], kMostValues);
    }
    const int decimals = std::max(decimals_of(r[0]), decimals_of(r[2]));
    for (int i = 0; i <= static_cast<int>(n + 1e-9); ++i) {
      const double x = rounded(r[0] + i * r[2], decimals);
      axis.values.push_back({axis.whole ? Json(static_cast<std::int64_t>(std::llround(x))) : Json(x)});
    }
  }

  static void list(Axis& axis, const Json& json) {
    if (!json.is_array() || json.empty()) throw Error("{}: expected a list with at least one value", axis.where);
    for (const Json& v : json) {
      if (axis.keys.size() == 1) {
        axis.values.push_back({v});
        continue;
      }
      if (!v.is_array() || v.size() != axis.keys.size()) {
        throw Error("{}: found {}, expected lists of {} values, one for each of {}", axis.where,
                    v.dump(-1, ' ', true, Json::error_handler_t::replace).substr(0, 80), axis.keys.size(),
                    fmt::join(axis.keys, ", "));
      }
      axis.values.emplace_back(v.begin(), v.end());
    }
  }

  // Every value must be valid for its key.
  void check_values(const Axis& axis) {
    if (axis.keys.size() > 1 && axis.continuous()) {
      throw Error("{}: keys that move together need a list of lists", axis.where);
    }
    RunConfig probe = spec_.base;
    Fields fields = describe(probe);
    const auto try_out = [&](const std::string& key, const Json& v) { set_fields(fields, Json{{key, v}}, axis.where); };
    if (axis.continuous()) {
      if (spec_.sweep.sampling == "grid") {
        throw Error("{}: a grid needs points: add points = N, a list, or choose another sweep.sampling", axis.where);
      }
      try_out(axis.keys[0], axis.at(0.0)[0]);
      try_out(axis.keys[0], axis.whole ? Json(static_cast<std::int64_t>(std::llround(axis.hi))) : Json(axis.hi));
    }
    for (const auto& v : axis.values) {
      for (std::size_t k = 0; k < axis.keys.size(); ++k) try_out(axis.keys[k], v[k]);
    }
  }

  Spec& spec_;
  std::string where_;
  std::vector<std::string> known_;
};

}  // namespace

int cohort_size(const std::string& text, bool gpu) {
  constexpr int kAutoCohort = 16;  // on a GPU the steps of some fill the launch gaps of others
  if (text == "auto") return gpu ? kAutoCohort : 1;
  if (text == "off") return 1;
  char* end = nullptr;
  const long n = std::strtol(text.c_str(), &end, 10);
  if (!text.empty() && *end == '\0' && n >= 1 && n <= 256) return static_cast<int>(n);
  throw Error("sweep.cohort = \"{}\": is auto, off, or a number of runs from 1 to 256", text);
}

Fields describe(SweepConfig& c) {
  return {
      field("store", c.store, "folder of all runs; a run that is finished there is never computed again"),
      choice("sampling", c.sampling, {"grid", "random", "sobol", "tpe"}, "how points are chosen from the axes"),
      field("budget", c.budget, 0, 1e7, "points to sample; grid: 0 for all, else the first of the grid"),
      field("seed", c.seed, 0, 9e15, "of the sampling"),
      field("objective", c.objective,
            "what is minimised: validation_mae, training_mae, test.mae, test.esr, ...; empty: the validation that the "
            "base "
            "stops on"),
      field("share_pretraining", c.share_pretraining, "pretraining is a task of its own, shared by all that need it"),
      choice("prune", c.prune, {"none", "asha", "median"}, "asha: pause losers at rungs; median: stop losers"),
      field("rung_first", c.rung_first, 1, 1e6, "supervised epochs at the first rung, or before the median counts"),
      field("rung_factor", c.rung_factor, 2, 100, "asha: one in so many goes on to so many times the epochs"),
      field("startup", c.startup, 1, 1e6, "tpe: evenly spread points before the model of results is used"),
      field("device", c.device, "auto, cpu, or GPUs such as cuda:0,cuda:1"),
      field("slots", c.slots, 0, 1e5, "runs at a time on the CPU; 0: one for each thread"),
      field("threads", c.threads, 0, 1e5, "threads of all runs together; 0: all that this process may use"),
      field("slots_per_gpu", c.slots_per_gpu, 1, 1000, "most runs at a time on one GPU, where its memory allows"),
      or_number(field(
          "cohort", c.cohort,
          "most runs of one architecture that a process trains side by side: auto (on a GPU what is measured to be "
          "worth it, 1 on a CPU), off, or a number")),
      field("memory_gb", c.memory_gb, 0, 1e6, "memory for all runs on a device, in GiB; 0: what is free"),
      field("retries", c.retries, 0, 1000,
            "deaths of a run in a row, without a step of progress, before it counts as failed"),
      field("lease_seconds", c.lease_seconds, 1, 1e6,
            "silence after which the owner of a run on another host counts as dead"),
      field("stall_seconds", c.stall_seconds, 1, 1e7, "a run without progress for so long counts as hung"),
      field("first", c.first, "runs with these settings go first, in this order, such as [\"data.effect=EQ\"]"),
  };
}

Fields describe(SlurmConfig& c) {
  return {
      field("account", c.account, "sbatch --account"),
      field("partition", c.partition, "sbatch --partition"),
      field("qos", c.qos, "sbatch --qos"),
      field("time", c.time, "sbatch --time, of one run; a run that needs longer saves and goes back into the queue"),
      field("memory", c.memory, "sbatch --mem, such as 8G"),
      field("gres", c.gres, "sbatch --gres, such as gpu:1"),
      field("pretrain_gres", c.pretrain_gres,
            "the same for pretrainings, where train.gpus of [pretrain] is more than one"),
      field("cpus", c.cpus, 0, 1e5, "sbatch --cpus-per-task; a run uses as many threads"),
      field("parallel", c.parallel, 0, 1e6, "most runs of one array at a time, %K of sbatch --array; 0: no limit"),
      field("signal_seconds", c.signal_seconds, 0, 65535,
            "so long before its time is over a run saves and goes back into the queue; 0: no warning"),
      field("setup", c.setup, "lines of shell before cafx starts, such as [\"module load cuda\"]"),
      field("container", c.container,
            "what starts cafx in a container, such as \"apptainer exec --nv cafx.sif\"; empty: this binary itself"),
      field("options", c.options, "more options of sbatch, such as [\"--exclude=node7\"]"),
  };
}

std::vector<Json> Axis::at(double u) const {
  if (!values.empty()) {
    const auto n = values.size();
    return values[std::min(n - 1, static_cast<std::size_t>(u * static_cast<double>(n)))];
  }
  const double x = log ? lo * std::pow(hi / lo, u) : lo + (hi - lo) * u;
  if (whole) return {static_cast<std::int64_t>(std::llround(std::clamp(x, lo, hi)))};
  return {std::clamp(x, lo, hi)};
}

namespace {

// An objective that no run will have is found here, not once all of them have run.
void check_objective(const Spec& spec, const std::string& where) {
  const std::vector<std::string> known = objective_names(spec);
  const std::string& objective = spec.sweep.objective;
  if (std::find(known.begin(), known.end(), objective) == known.end()) {
    throw Error("{}: sweep.objective = \"{}\": no run has such a result{}", where, objective.substr(0, 100),
                did_you_mean(objective, known, true));
  }
  const bool on_axis = std::any_of(spec.axes.begin(), spec.axes.end(), [](const Axis& axis) {
    return std::any_of(axis.keys.begin(), axis.keys.end(),
                       [](const std::string& key) { return key == "data.test" || key == "data.test_notes"; });
  });
  if (objective.rfind("test.", 0) == 0 && spec.base.data.test <= 0.0 && spec.base.data.test_notes.empty() && !on_axis) {
    throw Error("{}: sweep.objective = \"{}\": no run has a test part, as data.test = 0 and data.test_notes is empty",
                where, objective);
  }
}

}  // namespace

std::string why_incomparable(const Spec& spec) {
  std::vector<std::string> axes;
  const std::string& objective = spec.sweep.objective;
  const bool training = objective.rfind("training_", 0) == 0;
  if (!training && objective.rfind("validation_", 0) != 0) return "";
  const auto decides = [&](const std::string& key) {
    if (key == "train.stop_on") return !training;
    return key.rfind("train.loss.", 0) == 0 && (training || !stops_on_notes(spec.base.train));
  };
  for (const Axis& axis : spec.axes) {
    // The search compares means over crossed axes, the same ones for every point.
    if (axis.values.size() == 1 || (spec.sweep.sampling == "tpe" && axis.crossed)) continue;
    std::copy_if(axis.keys.begin(), axis.keys.end(), std::back_inserter(axes), decides);
  }
  if (axes.empty()) return "";
  return fmt::format(
      "{} says not which run is best, since {} decide{} what it measures; set train.stop_on = \"esr\" or another "
      "metric in the base, or sweep.objective = \"test.mae\" or another one of the test part",
      objective, fmt::join(axes, ", "), axes.size() == 1 ? "s" : "");
}

std::vector<std::string> objective_names(const Spec& spec) {
  std::vector<std::string> names{validation_name(spec.base.train), training_name(spec.base.train)};
  const auto add = [&](const std::string& name) {
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  };
  const bool loss_varies = std::any_of(spec.axes.begin(), spec.axes.end(), [](const Axis& axis) {
    return std::any_of(axis.keys.begin(), axis.keys.end(), [](const std::string& key) {
      return key == "train.stop_on" || key.rfind("train.loss", 0) == 0;
    });
  });
  if (loss_varies) {
    for (const char* part : {"validation_", "training_"}) {
      for (const char* name : {"mae", "loss"}) add(std::string(part) + name);
    }
    for (const MetricName& metric : kMetricNames) add(std::string("validation_") + metric.key);
  }
  for (const char* name : {"steps", "parameters"}) add(name);
  for (const std::string& name : fact_names(*spec.base.model)) add(name);
  for (const MetricName& metric : kMetricNames) add(std::string("test.") + metric.key);
  return names;
}

Spec parse_spec(const std::string& text, const std::filesystem::path& path) {
  Spec spec;
  spec.path = path;
  spec.text = text;
  spec.name = path.stem().string();
  const std::string where = path.string();
  ConfigSource base;
  base.toml = text;
  base.where = where;
  base.others = {"axes", "pretrain", "name", "sweep", "slurm"};
  spec.base = make_config(base);
  Fields fields{field("name", spec.name, "of the sweep")};
  for (const Fields& part : {prefixed("sweep", describe(spec.sweep)), prefixed("slurm", describe(spec.slurm))}) {
    fields.insert(fields.end(), part.begin(), part.end());
  }
  read_toml(fields, text, where, {"axes", "pretrain", "preset", "model", "teacher", "data", "train", "log"});
  if (spec.sweep.objective.empty()) spec.sweep.objective = validation_name(spec.base.train);
  for (const char c : spec.name) {
    if (!std::isalnum(static_cast<unsigned char>(c)) && c != '-' && c != '_') {
      throw Error("{}: name = \"{}\"; a sweep's name is letters, digits, - and _", where, spec.name.substr(0, 100));
    }
  }
  if (spec.name.empty()) throw Error("{}: name is empty", where);
  try {
    cohort_size(spec.sweep.cohort, false);
  } catch (const Error& e) {
    throw Error("{}: {}", where, e.what());
  }
  const toml::table table = toml::parse(text, where);
  SpecReader reader(spec, where);
  if (const auto* node = table.get("axes")) {
    if (!node->is_table()) throw Error("{}: axes: expected a table, [axes]", reader.line(*node));
    reader.axes(*node->as_table(), "");
  }
  if (const auto* node = table.get("pretrain")) {
    if (!node->is_table()) throw Error("{}: pretrain: expected a table, [pretrain]", reader.line(*node));
    spec.pretrain = reader.settings(*node->as_table(), "");
  }
  if (spec.sweep.sampling != "grid" && spec.sweep.budget == 0) {
    throw Error("{}: sweep.sampling = \"{}\" needs sweep.budget, how many points to try", where, spec.sweep.sampling);
  }
  if (spec.sweep.sampling == "tpe" &&
      std::all_of(spec.axes.begin(), spec.axes.end(), [](const Axis& axis) { return axis.crossed; })) {
    throw Error("{}: sweep.sampling = \"tpe\" needs an axis that is not crossed", where);
  }
  check_objective(spec, where);
  if (const std::string why = why_incomparable(spec); spec.sweep.sampling == "tpe" && !why.empty()) {
    throw Error("{}: sweep.sampling = \"tpe\": {}", where, why);
  }
  int epochs = spec.base.train.epochs;  // of the longest run
  for (const Axis& axis : spec.axes) {
    const auto k =
        static_cast<std::size_t>(std::find(axis.keys.begin(), axis.keys.end(), "train.epochs") - axis.keys.begin());
    if (k == axis.keys.size()) continue;
    epochs = axis.continuous() ? static_cast<int>(axis.hi) : 0;
    for (const auto& v : axis.values) epochs = std::max(epochs, v[k].get<int>());
  }
  if (spec.sweep.prune != "none" && epochs < spec.sweep.rung_first) {
    throw Error("{}: sweep.rung_first = {} is over train.epochs = {}", where, spec.sweep.rung_first, epochs);
  }
  // The order of the file; toml++ sorts by name.
  std::stable_sort(spec.axes.begin(), spec.axes.end(), [&](const Axis& a, const Axis& b) {
    const auto number = [](const Axis& axis) {
      return std::stol(axis.where.substr(axis.where.rfind(':', axis.where.rfind(": axes.") - 1) + 1));
    };
    return number(a) < number(b);
  });
  return spec;
}

Spec read_spec(const std::filesystem::path& path) { return parse_spec(RunFolder::read(path), path); }

}  // namespace cafx
