#include "host/distill/config.h"

#include "kernels/base/error.h"
#include "kernels/base/hash.h"

namespace cafx {

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
