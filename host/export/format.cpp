#include "host/export/format.h"

#include <fmt/ranges.h>

#include <algorithm>

#include "datasets/readers/reader.h"
#include "host/export/lv2_bundle.h"
#include "host/export/nam_file.h"
#include "host/export/onnx_file.h"
#include "kernels/base/error.h"

namespace cafx {

namespace {

std::string nothing(const Model&) { return ""; }

void write_safetensors_file(const std::filesystem::path& path, const ModelFile& file, const std::string&) {
  save_model(path, *file.model, file.metadata);
}
void write_onnx(const std::filesystem::path& path, const ModelFile& file, const std::string&) {
  save_onnx(path, *file.model, file.metadata);
}

std::string onnx_remark(const Model& model) {
  const Geometry g = model.geometry();
  const std::string of =
      g.frame > 0 ? fmt::format("frames of {} samples", g.frame) : "samples of a stream, with its state";
  return fmt::format("ONNX opset {}, {}, at {} Hz", kOnnxOpset, of, g.sample_rate);
}
std::string lv2_remark(const Model& model) {
  return fmt::format("a plugin, {}; hosts find it in ~/.lv2", lv2_uri(model));
}
std::string nam_remark(const Model& model) {
  const int rate = model.geometry().sample_rate;
  const std::string knobs = model.geometry().knobs > 0 && model.position().empty()
                                ? "with its knobs, for hosts of NAM's parametric fork; others take a file at one "
                                  "position, as by --knob NAME=VALUE"
                                : "";
  if (rate == kNamRate) return knobs;
  return knobs + (knobs.empty() ? "" : "; ") +
         fmt::format(
             "it works at {0} Hz, and most NAM hosts run a model at their own rate, often {1} Hz, where it would sound "
             "wrong unless they resample by the file's sample_rate; one of {1} Hz is made by 'cafx train "
             "--set model.sample_rate={1}', or 'cafx distill --rate {1}'",
             rate, kNamRate);
}

}  // namespace

const std::vector<Format>& formats() {
  static const std::vector<Format> all{
      {"safetensors", ".safetensors", nothing, write_safetensors_file, nothing},
      {"onnx", ".onnx", why_not_onnx, write_onnx, onnx_remark, true},
      {"nam", ".nam", why_not_nam, save_nam, nam_remark, true, true},
      {"lv2", ".lv2", why_not_lv2, save_lv2, lv2_remark, false, true},
  };
  return all;
}

std::vector<std::string> format_names() {
  std::vector<std::string> names;
  for (const Format& f : formats()) names.push_back(f.name);
  return names;
}

const Format& format_of_name(const std::string& name) {
  for (const Format& f : formats()) {
    if (name == f.name) return f;
  }
  throw Error("unknown format '{}'{}", name, did_you_mean(name, format_names(), true));
}

const Format& format_of_path(const std::string& path) {
  const std::string ending = lower_case(std::filesystem::path(path).extension().string());
  if (ending.empty()) return formats().front();
  std::vector<std::string> endings;
  for (const Format& f : formats()) {
    if (ending == f.ending) return f;
    endings.emplace_back(f.ending);
  }
  throw Error("{}: no format has the ending {}; there are {}; choose one of them, or say what the file is by --format",
              path, ending, fmt::join(endings, ", "));
}

}  // namespace cafx
