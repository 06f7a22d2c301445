// host/train/targets.h -- where the targets come from: the recordings as they are, or a teacher's rendering of the dry
// notes in their place, as a data set of its own.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

#include "host/train/config.h"
#include "kernels/device/context.h"

namespace cafx {

inline constexpr const char* kTeacherFile =
    "teacher.safetensors";  // a copy of the teacher's weights, in the run's folder

// Path of the teacher's weights: the file itself, or the best ones of a run.
std::filesystem::path weights_of_teacher(const RunConfig&);
// Error where the weights of the teacher cannot teach: not a model, a form that renders no effect, or other knobs than
// data.knobs, where that names some.
void check_teacher(const RunConfig&);
// The default rate: the teacher's, or that of the first dry file.
void choose_rate(RunConfig&);
// The model's knobs: those of data.knobs. Error where its type has none, or it has others.
void choose_knobs(RunConfig&);

// Puts what the teacher in `weights` makes of the dry audio of `which` in the place of its wet audio, at the model's
// rate: the teacher plays at its own, and its output is resampled where they differ. Its knobs stand where the pair's
// do. Gives back the wet audio of the notes `kept`, which are among `which`, in their order.
std::vector<SharedRecording> teach(Dataset&, const std::vector<int>& which, const std::vector<int>& kept,
                                   const RunConfig&, const std::filesystem::path& weights, const Context&,
                                   const std::function<void(const std::string&)>& say);

}  // namespace cafx
