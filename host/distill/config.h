// host/distill/config.h -- how a student is trained, and the whole config of its run.
#pragma once

#include <cstdint>
#include <string>

#include "datasets/dataset.h"
#include "kernels/base/describe.h"
#include "models/model.h"

namespace cafx {

// A student as its config names it: [student] kind, sample_rate, and the sizes of each kind under its name.
struct StudentConfig {
  std::string kind = "lstm";  // or "wavenet"
  int sample_rate = 0;        // 0: the teacher's, or that of the recordings
  int hidden = 24, layers = 1;
  std::vector<int> channels = {16, 8}, array_layers = {10, 10};
  std::vector<int> dilations = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1, 2, 4, 8, 16, 32, 64, 128, 256, 512};
  int taps = 3;
  bool gated = false;
  double head_scale = 0.02;
};
Fields describe(StudentConfig&);
StudentConfig student_config(const ModelConfig&);
std::unique_ptr<ModelConfig> model_config(const StudentConfig&);
std::vector<std::string> student_presets();
StudentConfig student_preset(const std::string& name);
void check(const StudentConfig&, const std::string& where);

struct TeacherConfig {
  std::string model;  // folder of a run, or a weights file; empty: the recordings teach
  int hop = 0;        // of its rendering; 0: an eighth of its frame
};
Fields describe(TeacherConfig&);

struct StudentTraining {
  std::int64_t seed = 1;
  double segment_seconds = 0.5;
  int batch = 8;     // segments that are gone through together
  int block = 1024;  // samples between two steps of the optimiser, and the reach of back-propagation
  int burn_in = 1024;
  int epochs = 300, patience = 300;
  double lr = 1e-2;
  std::string schedule = "cosine";
  double final_factor = 0.01;
  int warmup_steps = 0;
  double clip_norm = 1.0;
  double weight_decay = 0.0;
  double beta1 = 0.9, beta2 = 0.999, epsilon = 1e-8;
  double esr = 1.0, mae = 0.0, pre_emphasis = 0.0, energy_floor = 0.1;
};
Fields describe(StudentTraining&);

struct DistillConfig {
  std::string preset = "lstm";
  StudentConfig student;
  TeacherConfig teacher;
  DataConfig data;
  StudentTraining train;
};
Fields describe(DistillConfig&);  // "preset", "student.*", "teacher.*", "data.*", "train.*"

// Student, training and their defaults for a preset; data and teacher as they stand.
DistillConfig distill_preset(const std::string& name);
// Error that names the key where values do not fit together.
void check(const DistillConfig&, const std::string& where);
// Of everything that decides the bits of the result. `teacher`: identity of its weights, empty without one.
std::string distill_hash(DistillConfig, const std::string& data_hash, const std::string& teacher);

}  // namespace cafx
