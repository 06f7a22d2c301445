#include "host/distill/config.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "models/lstm/lstm.h"
#include "models/registry.h"
#include "models/wavenet/wavenet.h"

namespace cafx {

Fields describe(StudentConfig& c) {
  return {
      choice("kind", c.kind, {"lstm", "wavenet"}, "recurrent, or dilated convolutions"),
      field("sample_rate", c.sample_rate, 0, 384000,
            "rate the student works at, in Hz; 0: the teacher's, or that of the recordings"),
      field("lstm.hidden", c.hidden, 1, 1024, "hidden units of a layer"),
      field("lstm.layers", c.layers, 1, 16, "layers"),
      field("wavenet.channels", c.channels, "channels of each array of layers"),
      field("wavenet.layers", c.array_layers, "layers of each array"),
      field("wavenet.dilations", c.dilations, "dilation of every layer, all arrays one after the other"),
      field("wavenet.taps", c.taps, 1, 64, "taps of every dilated convolution"),
      field("wavenet.gated", c.gated, "tanh times sigmoid instead of tanh"),
      field("wavenet.head_scale", c.head_scale, 1e-6, 1e6, "factor on the output"),
  };
}

StudentConfig student_config(const ModelConfig& model) {
  StudentConfig c;
  c.kind = model.type();
  c.sample_rate = model.sample_rate;
  if (const auto* m = dynamic_cast<const LstmConfig*>(&model)) {
    c.hidden = m->hidden;
    c.layers = m->layers;
  }
  if (const auto* m = dynamic_cast<const WavenetConfig*>(&model)) {
    c.channels = m->channels;
    c.array_layers = m->layers;
    c.dilations = m->dilations;
    c.taps = m->taps;
    c.gated = m->gated;
    c.head_scale = m->head_scale;
  }
  return c;
}

std::unique_ptr<ModelConfig> model_config(const StudentConfig& c) {
  if (c.kind == "lstm") {
    auto m = std::make_unique<LstmConfig>();
    m->sample_rate = c.sample_rate;
    m->hidden = c.hidden;
    m->layers = c.layers;
    return m;
  }
  auto m = std::make_unique<WavenetConfig>();
  m->sample_rate = c.sample_rate;
  m->channels = c.channels;
  m->layers = c.array_layers;
  m->dilations = c.dilations;
  m->taps = c.taps;
  m->gated = c.gated;
  m->head_scale = c.head_scale;
  return m;
}

std::vector<std::string> student_presets() {
  std::vector<std::string> all = lstm_presets();
  for (const std::string& name : wavenet_presets()) all.push_back(name);
  return all;
}

StudentConfig student_preset(const std::string& name) {
  const auto all = student_presets();
  if (std::find(all.begin(), all.end(), name) == all.end()) {
    throw Error("unknown student '{}'; did you mean '{}'? Known are {}", name, nearest(name, all),
                fmt::join(all, ", "));
  }
  return student_config(*type_of_preset(name).preset(name));
}

void check(const StudentConfig& c, const std::string& where) {
  StudentConfig with_rate = c;
  if (c.sample_rate == 0) with_rate.sample_rate = 1;  // not chosen yet
  model_config(with_rate)->check(where);
}

Fields describe(TeacherConfig& c) {
  return {
      field("model", c.model, "trained model that makes the targets from the dry notes; empty: the wet recordings are"),
      field("hop", c.hop, 0, 1 << 19, "samples between its frames; 0: an eighth of its frame"),
  };
}

Fields describe(StudentTraining& c) {
  return {
      field("seed", c.seed, 0, 9e15, "of initial weights and of the order and places of segments"),
      field("segment_seconds", c.segment_seconds, 1e-3, 60, "length of a segment"),
      field("batch", c.batch, 1, 4096, "segments that are gone through together"),
      field("block", c.block, 0, 1 << 24,
            "samples between two steps of the optimiser, and the reach of back-propagation; 0: the segment"),
      field("burn_in", c.burn_in, 0, 1 << 24, "lstm: samples heard before a segment, to bring the state up to it"),
      field("epochs", c.epochs, 1, 1e6, "at most"),
      field("patience", c.patience, 1, 1e6, "epochs without a better validation error that end the training"),
      field("lr", c.lr, 0, 10, "learning rate"),
      choice("schedule", c.schedule, {"constant", "cosine"}, "learning rate over the training"),
      field("final_factor", c.final_factor, 0, 1, "cosine: factor on the rate at the last step"),
      field("warmup_steps", c.warmup_steps, 0, 1e9, "steps over which the rate rises from 0"),
      field("clip_norm", c.clip_norm, 0, 1e9, "largest norm of the gradient; 0: not clipped"),
      field("weight_decay", c.weight_decay, 0, 10, "decoupled (AdamW), on weights, not on biases"),
      field("beta1", c.beta1, 0, 1, "Adam"),
      field("beta2", c.beta2, 0, 1, "Adam"),
      field("epsilon", c.epsilon, 0, 1, "Adam"),
      field("esr", c.esr, 0, 1e3, "weight of the error to signal ratio in the loss"),
      field("mae", c.mae, 0, 1e3, "weight of the mean absolute error, relative to the target's mean magnitude"),
      field("pre_emphasis", c.pre_emphasis, 0, 1, "of the error to signal ratio: x[t] - pre_emphasis x[t-1]; 0: none"),
      field("energy_floor", c.energy_floor, 0, 1e3,
            "added to a segment's energy, in mean energies: how little quiet segments count"),
  };
}

Fields describe(DistillConfig& c) {
  Fields all;
  all.push_back(choice("preset", c.preset, student_presets(), "that student and training started from"));
  for (auto& part : {prefixed("student", describe(c.student)), prefixed("teacher", describe(c.teacher)),
                     prefixed("data", describe(c.data)), prefixed("train", describe(c.train))}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

DistillConfig distill_preset(const std::string& name) {
  DistillConfig c;
  c.preset = name;
  c.student = student_preset(name);
  if (c.student.kind == "wavenet") {
    c.train.block = 0;  // its layers look back over any block's border
    c.train.batch = 4;
    c.train.epochs = 100;
    c.train.lr = 5e-3;
  }
  return c;
}

void check(const DistillConfig& c, const std::string& where) {
  check(c.student, where + ": [student]");
  if (c.train.esr == 0.0 && c.train.mae == 0.0) {
    throw Error("{}: train.esr and train.mae are both 0; there is nothing to learn from", where);
  }
  if (c.train.esr > 0.0 && c.train.mae > 0.0) {
    throw Error("{}: train.esr = {}, train.mae = {}: give one of them", where, c.train.esr, c.train.mae);
  }
}

std::string distill_hash(DistillConfig c, const std::string& data_hash, const std::string& teacher) {
  // Where data and teacher lie does not decide the result; what they hold does.
  c.data.path.clear();
  c.data.dry.clear();
  c.data.wet.clear();
  c.teacher.model = teacher;
  Hasher hasher;
  hasher.add(to_toml(describe(c)));
  hasher.add(data_hash);
  return hasher.hex().substr(0, 12);
}

}  // namespace cafx
