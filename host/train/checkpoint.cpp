#include "host/train/checkpoint.h"

#include <algorithm>
#include <cstdlib>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"
#include "kernels/base/seal.h"

namespace cafx {

namespace {

constexpr const char* kFormat = "cafx-checkpoint";
constexpr const char* kFormatVersion = "1";
constexpr const char* kAverage = "average";  // the block that a checkpoint may lack

// Visits every counter as (name, reference), for writing and reading alike.
template <class C, class F>
void visit(C& c, F f) {
  f("stage", c.stage);
  f("epoch", c.epoch);
  f("step_in_epoch", c.step_in_epoch);
  f("step", c.step);
  f("total_steps", c.total_steps);
  f("loss_sum", c.loss_sum);
  f("gradient_norm", c.gradient_norm);
  f("best", c.best);
  f("last_training", c.last_training);
  f("bad_epochs", c.bad_epochs);
  f("plateau_scale", c.plateau_scale);
  f("plateau_bad", c.plateau_bad);
  f("finished", c.finished);
}

// Numbers are text, so that infinity and every bit of a double survive JSON.
void parse(int& x, const std::string& text) { x = std::stoi(text); }
void parse(long& x, const std::string& text) { x = std::stol(text); }
void parse(double& x, const std::string& text) { x = std::strtod(text.c_str(), nullptr); }
void parse(bool& x, const std::string& text) { x = text == "true"; }

template <class Visit>
void over_blocks(const Params& params, Visit visit_block) {
  for (const char* block : {"model", "best", "adam_m", "adam_v", kAverage}) {
    for (const ParamSpec& p : params) visit_block(std::string(block), p);
  }
}

std::vector<float>& block_of(Checkpoint& c, const std::string& name) {
  if (name == "model") return c.model;
  if (name == "best") return c.best;
  if (name == kAverage) return c.average;
  return name == "adam_m" ? c.m : c.v;
}

Checkpoint head_of(const Safetensors& file, const std::string& where) {
  check_seal(file, where);
  const auto text = [&](const char* key) -> const std::string& {
    const auto found = file.metadata.find(key);
    if (found == file.metadata.end()) {
      throw Error("{}: is not a checkpoint of cafx: '{}' is missing from its metadata", where, key);
    }
    return found->second;
  };
  if (text("format") != kFormat) {
    throw Error("{}: is not a checkpoint of cafx, its format is '{}'", where, text("format"));
  }
  if (text("format_version") != kFormatVersion) {
    throw Error("{}: checkpoint format {} is not known, this cafx reads {}", where, text("format_version"),
                kFormatVersion);
  }
  Checkpoint c;
  c.run_hash = text("run_hash");
  c.isa = text("isa");
  c.version = text("version");
  c.metrics = text("metrics");
  if (file.metadata.count("events")) c.events = std::strtoull(text("events").c_str(), nullptr, 10);
  if (file.metadata.count("precision")) c.precision = text("precision");
  try {
    const auto counters = nlohmann::json::parse(text("counters"));
    visit(c.counters, [&](const char* name, auto& value) { parse(value, counters.at(name).get<std::string>()); });
  } catch (const std::exception& e) {
    throw Error("{}: the counters of the checkpoint are damaged: {}", where, e.what());
  }
  return c;
}

}  // namespace

void write_checkpoint(const std::filesystem::path& path, const Checkpoint& checkpoint, const Params& params) {
  Checkpoint c = checkpoint;
  nlohmann::json counters;
  visit(c.counters, [&](const char* name, auto& value) { counters[name] = fmt::format("{}", value); });
  Safetensors file;
  file.metadata = {
      {"format", kFormat},    {"format_version", kFormatVersion}, {"run_hash", c.run_hash}, {"isa", c.isa},
      {"version", c.version}, {"counters", counters.dump()},      {"metrics", c.metrics},   {"precision", c.precision}};
  if (c.events > 0) file.metadata["events"] = std::to_string(c.events);
  over_blocks(params, [&](const std::string& block, const ParamSpec& p) {
    if (block_of(c, block).empty()) return;
    file.tensors[block + "/" + p.name] = Safetensors::from_floats(block_of(c, block).data() + p.offset, p.shape);
  });
  seal(file);
  write_safetensors(path, file);
}

Checkpoint read_checkpoint_head(const std::filesystem::path& path) {
  return head_of(read_safetensors(path), path.string());
}

Checkpoint read_checkpoint(const std::filesystem::path& path, const Params& params) {
  const Safetensors file = read_safetensors(path);
  Checkpoint c = head_of(file, path.string());
  for (auto* block : {&c.model, &c.best, &c.m, &c.v}) {
    block->assign(static_cast<std::size_t>(params.n_floats()), 0.0f);
  }
  if (file.tensors.count(kAverage + ("/" + params.begin()->name))) c.average = c.model;
  over_blocks(params, [&](const std::string& block, const ParamSpec& p) {
    if (block_of(c, block).empty()) return;
    const float* data = file.floats(block + "/" + p.name, p.shape, path.string());
    std::copy(data, data + p.size, block_of(c, block).begin() + p.offset);
  });
  return c;
}

}  // namespace cafx
