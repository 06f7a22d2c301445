// host/sweep/spec.h -- a sweep as a TOML file: a base config, axes over its keys, how to sample them, where to run it.
//
//   name = "rates"                                # of the sweep; the file's stem by default
//   preset = "default"                            # and [model], [data], [train] as in any config: the base
//   [axes]
//   train.lr = {log = [1e-4, 1e-2], points = 5}   # also linear = [lo, hi], range = [first, last, step], [a, b, c]
//   train.warmup_steps = {values = [0, 200], when = {train.schedule = "cosine"}}
//   train.seed = [1, 2, 3]
//   "data.effect+data.setting" = [["Distortion", 1], ["EQ", 2]]   # keys that move together
//   [pretrain]
//   train.seed = 1                                # overrides for the pretraining of a run
//   [sweep]
//   sampling = "sobol"                            # grid, random, sobol, tpe
//   budget = 32
//   [slurm]                                       # for --launcher slurm
//   partition = "gpu"
//   gres = "gpu:1"
//   time = "4:00:00"
//
//   Sampling other than grid draws `budget` points of the axes that are not crossed; each goes with every value of the
//   crossed ones. Crossed are train.seed and everything of data, unless the axis says `cross = true` or `false`.
//
// Errors   Error with file and line; an unknown key with the nearest known one.
#pragma once

#include <filesystem>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "host/train/config.h"

namespace cafx {

using Json = nlohmann::json;
using Setting = std::pair<std::string, Json>;  // key of RunConfig and its value

struct Axis {
  std::vector<std::string> keys;          // one, or several that move together
  std::vector<std::vector<Json>> values;  // for each value of the axis one for each key; empty: continuous
  double lo = 0.0, hi = 0.0;              // continuous: its range
  bool log = false, whole = false;        // on a logarithmic scale; rounded to a whole number
  bool crossed = false;
  std::vector<Setting> when;  // the axis is active only if all of these hold
  std::string where;          // file:line

  bool continuous() const { return values.empty(); }
  // Values for u in [0, 1), one for each key.
  std::vector<Json> at(double u) const;
};

struct SweepConfig {
  std::string store = "runs";
  std::string sampling = "grid";
  int budget = 0;
  std::int64_t seed = 1;
  std::string objective;  // empty: resolved when a spec is read
  bool share_pretraining = true;
  std::string prune = "none";
  int rung_first = 1, rung_factor = 3;
  int startup = 10;
  std::string device = "auto";
  int slots = 0;
  int threads = 0;
  int slots_per_gpu = 4;
  std::string cohort = "auto";
  double memory_gb = 0.0;
  int retries = 3;
  double lease_seconds = 60.0;
  double stall_seconds = 1800.0;
  std::vector<std::string> first;
};
Fields describe(SweepConfig&);
// Most runs of a cohort, of sweep.cohort: "auto", "off" or a number from 1 to 256; Error otherwise.
int cohort_size(const std::string& text, bool gpu);

// Resources of jobs on a Slurm cluster; empty and 0: the cluster's default.
struct SlurmConfig {
  std::string account, partition, qos, time, memory, gres, pretrain_gres;
  int cpus = 0;
  int parallel = 0;
  int signal_seconds = 120;
  std::vector<std::string> setup, options;
  std::string container;  // command that runs what follows it, such as "apptainer exec --nv cafx.sif"
};
Fields describe(SlurmConfig&);

struct Spec {
  std::string name, text;  // text: the file as it was read
  std::filesystem::path path;
  RunConfig base;
  SweepConfig sweep;
  SlurmConfig slurm;
  std::vector<Axis> axes;
  std::vector<Setting> pretrain;
};

// What runs have as results, so what sweep.objective can name: the worker's metrics, and "test." with an evaluation's.
std::vector<std::string> objective_names(const Spec&);
// Why the objective does not tell which run is best, and what would: axes decide what it measures. Empty: it tells.
std::string why_incomparable(const Spec&);

Spec read_spec(const std::filesystem::path&);
Spec parse_spec(const std::string& text, const std::filesystem::path&);

// The settings of one run, in the order of the axes; inactive axes are left out.
using Point = std::vector<Setting>;
// All points of a grid, or `budget` sampled ones times the crossed values; without duplicates, always in the same
// order. For tpe: none, see search.h.
std::vector<Point> sample_points(const Spec&);
// Points of the axes (crossed or not) as coordinates in the unit cube: u[i] belongs to axes[i].
Point point_at(const std::vector<const Axis*>& axes, const std::vector<double>& u, const RunConfig& base);
// Every combination of the axes' values.
std::vector<Point> cross(const std::vector<const Axis*>& axes, const RunConfig& base);
// Config with the settings put in; Error names the setting.
RunConfig with_settings(const RunConfig& base, const Point&, const std::string& where);
// As text: "train.lr=0.003 train.seed=2".
std::string label(const Point&);
// A setting's value, as text for tables: strings without quotes, numbers that read back as the same.
std::string value_text(const Json&);

inline constexpr int kMostSobol = 16;  // dimensions
// Coordinates of point i of the Sobol sequence (dimensions up to kMostSobol), shifted by a random vector of the seed.
std::vector<double> sobol_point(std::uint32_t i, int dimensions, std::uint64_t seed);

}  // namespace cafx
