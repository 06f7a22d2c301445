#include "host/train/config.h"

#include <cmath>

#include "kernels/base/error.h"
#include "kernels/base/hash.h"

namespace cafx {

Fields describe(TrainConfig& c) {
  return {
      field("seed", c.seed, 0, 9e15, "of initial weights and of the order of frames"),
      field("batch", c.batch, 1, 1 << 16, "frames in one step"),
      field("hop", c.hop, 0, 1 << 20, "samples between training frames; 0: model.hop"),
      field("validation_hop", c.validation_hop, 0, 1 << 20, "samples between validation frames; 0: model.hop"),
      field("pretrain_epochs", c.pretrain_epochs, 0, 1e6, "at most, unsupervised; 0: no pretraining"),
      field("epochs", c.epochs, 0, 1e6, "at most, supervised"),
      field("refine_epochs", c.refine_epochs, 0, 1e6, "at most, from the best weights at lr x refine_factor; 0: none"),
      field("patience", c.patience, 1, 1e6, "epochs without a better loss that end a stage"),
      field("pretrain_lr", c.pretrain_lr, 0, 10, "learning rate of the unsupervised step"),
      field("lr", c.lr, 0, 10, "learning rate of the supervised step"),
      field("refine_factor", c.refine_factor, 0, 1, "factor on the rate of the last stage"),
      choice("schedule", c.schedule, {"constant", "cosine", "plateau"}, "learning rate over a stage"),
      field("warmup_steps", c.warmup_steps, 0, 1e9, "steps over which the rate of a stage rises from 0"),
      field("final_factor", c.final_factor, 0, 1, "cosine: factor on the rate at the stage's last step"),
      field("plateau_patience", c.plateau_patience, 1, 1e6,
            "plateau: epochs without a better loss that lower the rate"),
      field("plateau_factor", c.plateau_factor, 0, 1, "plateau: factor on the rate"),
      choice("optimizer", c.optimizer, {"adam", "lamb"},
             "lamb: each tensor's step in proportion to its size, for large batches"),
      field("accumulate", c.accumulate, 1, 1 << 16,
            "parts that a batch is worked through in; the memory of one, the step of all"),
      choice("lr_scaling", c.lr_scaling, {"none", "linear", "sqrt"},
             "rates are for batches of lr_batch and grow with batch / lr_batch or its root"),
      field("lr_batch", c.lr_batch, 1, 1 << 16, "the batch that the rates are for, where lr_scaling is not none"),
      field("clip_norm", c.clip_norm, 0, 1e9, "largest norm of the gradient; 0: not clipped"),
      field("weight_decay", c.weight_decay, 0, 10, "decoupled (AdamW), on weights, not on biases nor the SAAF"),
      field("beta1", c.beta1, 0, 1, "Adam"),
      field("beta2", c.beta2, 0, 1, "Adam"),
      field("epsilon", c.epsilon, 0, 1, "Adam"),
      field("silence_db", c.silence_db, -400, 0,
            "frames whose dry and wet peaks are below this are left out, in dB of full scale"),
      choice("precision", c.precision, {"fp32", "tf32", "bf16"},
             "of the products' operands; sums and weights stay fp32; a CPU without such units emulates it, slowly"),
      field("init_from", c.init_from, "weights file to start from, by tensor name; empty: none"),
      field("gpus", c.gpus,
            "GPUs of this machine that share every batch: a number, all, or a list such as 0,2; empty: one"),
  };
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
  Fields all;
  all.push_back(choice("preset", c.preset, cafx_presets(), "that model and training started from"));
  for (auto& part : {prefixed("model", describe(c.model)), prefixed("data", describe(c.data)),
                     prefixed("train", describe(c.train))}) {
    all.insert(all.end(), part.begin(), part.end());
  }
  return all;
}

RunConfig run_preset(const std::string& name) {
  RunConfig c;
  c.preset = name;
  c.model = cafx_preset(name);
  if (name == "default") {
    // What learned best on the shipped notes: models/cafx/README.md has the table.
    c.train.batch = 16;
    c.train.hop = 64;
    c.train.pretrain_epochs = 15;
    c.train.epochs = 70;
    c.train.refine_epochs = 15;
    c.train.pretrain_lr = 1e-3;
    c.train.lr = 3e-3;
    c.train.schedule = "cosine";
    c.train.warmup_steps = 200;
    c.train.silence_db = -60.0;
  }
  return c;
}

void check(const RunConfig& c, const std::string& where) {
  check(c.model, where + ": [model]");
  if (c.train.epochs == 0 && c.train.pretrain_epochs == 0) {
    throw Error("{}: train.epochs and train.pretrain_epochs are both 0; there is nothing to do", where);
  }
  if (c.train.accumulate > c.train.batch) {
    throw Error("{}: train.accumulate = {} is over train.batch = {}; a part needs a frame", where, c.train.accumulate,
                c.train.batch);
  }
  if (c.train.hop > c.model.frame) {
    throw Error("{}: train.hop = {} is over the frame of {} samples; part of the audio would never be heard", where,
                c.train.hop, c.model.frame);
  }
}

std::string run_hash(RunConfig c, const std::string& data_hash, const std::string& init) {
  // Where the data lies does not decide the result; what it holds does. Neither does the number of GPUs, but for rounding.
  c.data.path.clear();
  c.data.dry.clear();
  c.data.wet.clear();
  c.train.init_from = init;
  Hasher hasher;
  Fields fields = describe_result(c);
  std::erase_if(fields, [](const Field& f) { return f.name == "train.gpus"; });
  hasher.add(to_toml(fields));
  hasher.add(data_hash);
  return hasher.hex().substr(0, 12);
}

}  // namespace cafx
