#include "host/train/config.h"

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "host/metrics/metrics.h"
#include "host/train/optimiser.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "models/registry.h"

namespace cafx {

namespace {

constexpr const char* kForm = kSupervised;  // fields that a pretraining does not read
constexpr int kShortestStft = 256;          // samples: kernels/loss/loss.h

Fields losses_of(LossConfig& c) {
  Fields fields = prefixed("loss", describe(c));
  for (Field& f : fields) f.late = true;
  return fields;
}

std::vector<std::string> stop_choices() {
  std::vector<std::string> names{"loss"};
  for (const MetricName& m : kMetricNames) names.emplace_back(m.key);
  return names;
}

Field optimizer_field(std::string& value) {
  Field f = choice("optimizer", value, optimiser_names(),
                   "lamb: each tensor's step in proportion to its size, for large batches");
  f.hashed = f.help + " (adam, lamb)";  // with another one in the table, runs keep their hash
  return f;
}

Field precision_field(std::string& value) {
  const std::string help =
      "of the products' operands; sums and weights stay fp32; a CPU without such units emulates it, slowly";
  Field f = choice("precision", value, {"fp32", "tf32", "bf16", "fp16"}, help);
  f.hashed = help + " (fp32, tf32, bf16)";  // as it was before fp16 came
  return f;
}

Field stop_on_field(std::string& value) {
  Field f =
      choice("stop_on", value, stop_choices(),
             "quantity of the validation that ends a stage and chooses the best weights: the loss, or a metric of "
             "whole notes as they play");
  f.hashed = "stop_on";
  return late(read_by({kForm}, std::move(f)));
}

}  // namespace

Fields describe(TeacherConfig& c) {
  return {
      late(path("model", c.model,
                "trained model that makes the targets from the dry notes: a run's folder or a weights file; empty: the "
                "recordings are the targets")),
      late(field("hop", c.hop, 0, 1 << 19, "samples between the frames of the teacher; 0: an eighth of its frame")),
  };
}

Fields describe(TrainConfig& c) {
  Fields fields = {
      field("seed", c.seed, 0, 9e15, "of initial weights and of the order of frames"),
      field("batch", c.batch, 1, 1 << 16, "frames in one step"),
      field("hop", c.hop, 0, 1 << 20, "samples between training frames; 0: model.hop"),
      read_by({kForm},
              field("validation_hop", c.validation_hop, 0, 1 << 20, "samples between validation frames; 0: model.hop")),
      field("pretrain_epochs", c.pretrain_epochs, 0, 1e6, "at most, unsupervised; 0: no pretraining"),
      field("epochs", c.epochs, 0, 1e6, "at most, supervised"),
      field("refine_epochs", c.refine_epochs, 0, 1e6, "at most, from the best weights at lr x refine_factor; 0: none"),
      field("patience", c.patience, 1, 1e6, "epochs without a better loss that end a stage"),
      field("pretrain_lr", c.pretrain_lr, 0, 10, "learning rate of the unsupervised step"),
      read_by({kForm}, field("lr", c.lr, 0, 10, "learning rate of the supervised step")),
      read_by({kForm}, field("refine_factor", c.refine_factor, 0, 1, "factor on the rate of the last stage")),
      choice("schedule", c.schedule, {"constant", "cosine", "plateau"}, "learning rate over a stage"),
      field("warmup_steps", c.warmup_steps, 0, 1e9, "steps over which the rate of a stage rises from 0"),
      field("final_factor", c.final_factor, 0, 1, "cosine: factor on the rate at the stage's last step"),
      field("plateau_patience", c.plateau_patience, 1, 1e6,
            "plateau: epochs without a better loss that lower the rate"),
      field("plateau_factor", c.plateau_factor, 0, 1, "plateau: factor on the rate"),
      optimizer_field(c.optimizer),
      field("accumulate", c.accumulate, 1, 1 << 16,
            "parts that a batch is worked through in; the memory of one, the step of all"),
      choice("lr_scaling", c.lr_scaling, {"none", "linear", "sqrt"},
             "rates are for batches of lr_batch and grow with batch / lr_batch or its root"),
      field("lr_batch", c.lr_batch, 1, 1 << 16, "the batch that the rates are for, where lr_scaling is not none"),
      field("clip_norm", c.clip_norm, 0, 1e9, "largest norm of the gradient; 0: not clipped"),
      field("weight_decay", c.weight_decay, 0, 10, "decoupled (AdamW), on weights, not on biases nor the SAAF"),
      late(read_by({kForm}, field("ema", c.ema, 0, 1e9,
                                  "validation and the finished model take the exponential average of the weights over "
                                  "about so many updates; 0: the weights as they are"))),
      field("beta1", c.beta1, 0, 0.99999, "Adam"),
      field("beta2", c.beta2, 0, 0.99999, "Adam"),
      field("epsilon", c.epsilon, 0, 1, "Adam"),
      field("silence_db", c.silence_db, -400, 0,
            "frames whose dry and wet peaks are below this are left out, in dB of full scale"),
      precision_field(c.precision),
      path("init_from", c.init_from, "weights file to start from, by tensor name; empty: none"),
      or_number(field("gpus", c.gpus,
                      "GPUs of this machine that share every batch: a number, all, or a list such as 0,2; empty: one")),
      late(field("segment_seconds", c.segment_seconds, 1e-3, 60, "streams: length of a segment")),
      late(field("block", c.block, 0, 1 << 24,
                 "streams: samples between two updates of the weights, and the reach of back-propagation; 0: the "
                 "model's own, or the segment")),
      late(field("burn_in", c.burn_in, 0, 1 << 24,
                 "streams: samples heard before a segment without being learned from, to bring the state up to it")),
      stop_on_field(c.stop_on),
  };
  for (Field& f : losses_of(c.loss)) fields.push_back(std::move(f));
  return fields;
}

double rate_scale(const TrainConfig& c) {
  const double ratio = static_cast<double>(c.batch) / c.lr_batch;
  return c.lr_scaling == "linear" ? ratio : c.lr_scaling == "sqrt" ? std::sqrt(ratio) : 1.0;
}

Fields describe(LogConfig& c) {
  return {
      choice("events", c.events, {"all", "scalars", "off"},
             "event file for TensorBoard in the run folder; all: also histograms of the SAAF and validation notes")};
}

Fields describe(RunConfig& c) {
  Fields all = describe_result(c);
  for (Field& f : prefixed("log", describe(c.log))) all.push_back(std::move(f));
  return all;
}

Fields describe_result(RunConfig& c) {
  c.type = c.model->type();
  Fields all;
  all.push_back(choice("preset", c.preset, model_presets(), "that model and training started from"));
  all.back().hashed = "that model and training started from (default, paper, journal)";
  all.push_back(choice("model.type", c.type, model_type_names(), "of the model; a preset belongs to one"));
  all.back().hashed = "of the model";
  for (auto& part : {prefixed("model", c.model->fields()), prefixed("teacher", describe(c.teacher)),
                     prefixed("data", describe(c.data)), prefixed("train", describe(c.train))}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

namespace {

bool has_form(const ModelType& type, const std::string& form) {
  return std::find(type.forms.begin(), type.forms.end(), form) != type.forms.end();
}

}  // namespace

RunConfig run_preset(const std::string& name) {
  RunConfig c;
  const ModelType& type = type_of_preset(name);
  c.preset = name;
  c.type = type.name;
  c.model = AnyConfig(type.preset(name));
  if (!has_form(type, kPretrain)) c.train.pretrain_epochs = 0;
  Fields fields = describe(c.train);
  for (const auto& [key, value] : type.training(name)) set_field(fields, key, value, "preset " + name);
  return c;
}

namespace {

// The preset to start from, where `preset` and `type` may each be empty.
RunConfig base_of(const std::string& preset, const std::string& type, const std::string& where) {
  if (preset == kAutoPreset) {
    throw Error(
        "{}: preset = \"auto\" is chosen by what one training's recordings tell, by 'cafx train --preset auto'; name a "
        "preset here, such as the one that it chose",
        where);
  }
  if (preset.empty()) return run_preset(type.empty() ? RunConfig().preset : model_type(type).presets().front());
  const std::string of_preset = type_of_preset(preset).name;
  if (!type.empty() && type != of_preset) {
    throw Error(
        "{}: model.type = \"{}\", but preset \"{}\" is of type {}; leave one of them out, or choose a preset of "
        "the type, such as {}",
        where, type, preset, of_preset, model_type(type).presets().front());
  }
  return run_preset(preset);
}

// What file and settings say of the recordings.
DataConfig recordings_of(const ConfigSource& source) {
  DataConfig data;
  if (source.data) data = *source.data;
  Fields fields = prefixed("data", describe(data));
  if (!source.toml.empty()) {
    nlohmann::json of_data = nlohmann::json::object();
    const nlohmann::json flat = flat_toml(source.toml, source.where);
    for (const auto& [key, value] : flat.items()) {
      if (key.rfind("data.", 0) == 0) of_data[key] = value;
    }
    set_fields(fields, of_data, source.where);
  }
  for (const std::string& setting : source.settings) {
    const auto [key, value] = split_setting(setting);
    if (key.rfind("data.", 0) == 0) set_field(fields, key, value, "--set");
  }
  return data;
}

}  // namespace

RunConfig make_config(const ConfigSource& source) {
  std::string preset, type, where = source.where.empty() ? "--set" : source.where;
  if (!source.toml.empty()) {
    preset = toml_string(source.toml, source.where, "preset");
    type = toml_string(source.toml, source.where, "model.type");
  }
  if (!source.preset.empty()) preset = source.preset;
  for (const std::string& setting : source.settings) {
    const auto [key, value] = split_setting(setting);
    if (key == "preset") preset = value;
    if (key == "model.type") type = value;
  }
  if (preset == kAutoPreset && source.decide) {
    if (!type.empty()) throw Error("{}: preset \"auto\" chooses the type of model too; leave model.type out", where);
    preset = source.decide(recordings_of(source));
  }
  RunConfig config = base_of(preset, type, where);
  if (source.data) config.data = *source.data;
  const std::string name = config.preset;
  Fields fields = describe(config);
  fields.front().choices.emplace_back(kAutoPreset);  // the preset, which is what `name` says in the end
  if (!source.toml.empty()) read_toml(fields, source.toml, source.where, source.others);
  for (const std::string& setting : source.settings) {
    const auto [key, value] = split_setting(setting);
    set_field(fields, key, value, "--set");
  }
  config.preset = name;
  return config;
}

RunConfig config_of_json(const nlohmann::json& flat, const std::string& where) {
  const auto text = [&](const char* key) {
    return flat.is_object() && flat.contains(key) && flat[key].is_string() ? flat[key].get<std::string>()
                                                                           : std::string();
  };
  RunConfig config = base_of(text("preset"), text("model.type"), where);
  Fields fields = describe(config);
  set_fields(fields, flat, where);
  return config;
}

namespace {

void check_stages(const RunConfig& c, const std::string& where) {
  const TrainConfig& t = c.train;
  if (t.pretrain_epochs > 0 && !has_form(model_type(c.model->type()), kPretrain)) {
    throw Error("{}: train.pretrain_epochs = {}, but a model of type {} has no form to pretrain; set it to 0", where,
                t.pretrain_epochs, c.model->type());
  }
  if (t.epochs == 0 && t.pretrain_epochs == 0) {
    throw Error("{}: train.epochs and train.pretrain_epochs are both 0; there is nothing to do", where);
  }
}

}  // namespace

DataConfig data_of(const RunConfig& c) {
  DataConfig data = c.data;
  if (c.train.epochs == 0 && c.train.refine_epochs == 0) data.allow.push_back("settings");
  return data;
}

void check(const RunConfig& c, const std::string& where) {
  check(*c.model, where + ": [model]");
  if (c.type != c.model->type()) {
    throw Error("{}: model.type = \"{}\" does not fit preset \"{}\", which is of type {}", where, c.type, c.preset,
                c.model->type());
  }
  const TrainConfig& t = c.train;
  const Geometry g = c.model->geometry();
  check_stages(c, where);
  check_precision(*c.model, parse_precision(t.precision), where + ": train.precision");
  if (t.accumulate > t.batch) {
    throw Error("{}: train.accumulate = {} is over train.batch = {}; a part needs a frame", where, t.accumulate,
                t.batch);
  }
  if (g.frame > 0 && t.hop > g.frame) {
    throw Error("{}: train.hop = {} is over the frame of {} samples; part of the audio would never be heard", where,
                t.hop, g.frame);
  }
  if (g.frame == 0 && t.accumulate > 1 && (t.block > 0 || g.block > 0)) {
    throw Error("{}: train.accumulate = {} takes a batch in parts, which needs segments of one block; set it to 1",
                where, t.accumulate);
  }
  if (g.frame == 0 && t.block > 0 && t.block % g.unit != 0) {
    throw Error(
        "{}: train.block = {}; this model takes blocks of a multiple of {} samples, such as {}, or 0 for whole "
        "segments",
        where, t.block, g.unit, (t.block + g.unit - 1) / g.unit * g.unit);
  }
  static_cast<void>(Loss(t.loss));  // refuses weights that are all 0
  const int block = t.block > 0 ? t.block : g.block, segment = static_cast<int>(t.segment_seconds * g.sample_rate),
            heard = g.frame > 0 ? g.frame
                    : block > 0 ? std::min(block, segment)
                                : segment;
  if (t.loss.mr_stft > 0.0 && heard <= kShortestStft) {
    throw Error("{}: train.loss.mr_stft = {} needs {} of over {} samples, these have {}", where, t.loss.mr_stft,
                g.frame > 0 ? "frames" : "blocks", kShortestStft, heard);
  }
}

std::string run_hash(RunConfig c, const std::string& data_hash, const std::string& init, const std::string& teacher) {
  // The content of the data determines the result, not its location, nor (except for rounding) the number of GPUs.
  Fields fields = describe_result(c);
  for (Field& f : fields) {
    if (f.is_path) std::get<std::string*>(f.value)->clear();
  }
  c.train.init_from = init;
  c.teacher.model = teacher;
  const std::string first_type = model_types().front().name;
  std::erase_if(fields, [&](const Field& f) {
    return f.name == "train.gpus" || (f.name == "model.type" && c.type == first_type);
  });
  RunConfig defaults;
  defaults.model = AnyConfig(model_type(c.type).preset(model_type(c.type).presets().front()));
  Fields fresh = describe_result(defaults);
  std::erase_if(fresh, [](const Field& f) { return f.name == "model.type"; });
  Hasher hasher;
  hasher.add(hashed_text(fields, fresh));
  hasher.add(data_hash);
  return hasher.hex().substr(0, 12);
}

std::string training_name(const TrainConfig& c) {
  LossConfig loss = c.loss, mae;
  return to_json(describe(loss)) == to_json(describe(mae)) ? "training_mae" : "training_loss";
}

std::string validation_name(const TrainConfig& c) {
  if (stops_on_notes(c)) return "validation_" + c.stop_on;
  return training_name(c) == "training_mae" ? "validation_mae" : "validation_loss";
}

}  // namespace cafx
