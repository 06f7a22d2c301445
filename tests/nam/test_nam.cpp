// Students beside NeuralAmpModelerCore's output for the same .nam files (golden/nam.safetensors, made by nam/core.sh):
// what cafx plays, and what a plain reader of the file, in the order of weights that the format has, makes of it.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/base/knobs.h"
#include "kernels/base/safetensors.h"
#include "tests/nam/cases.h"
#include "tests/reference/reference_student.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

using nam_test::Case;
using nlohmann::json;
using reference::Vec;

std::vector<float> golden(const std::string& name) {
  const std::string path = std::string(CAFX_GOLDEN_DIR) + "/nam.safetensors";
  static const Safetensors file = read_safetensors(path);
  const auto n = static_cast<std::int64_t>(nam_test::signal().size());
  const float* y = file.floats(name, {n}, path);
  return {y, y + n};
}

template <class Signal>
void expect_golden(const Signal& y, const std::string& name) {
  const std::vector<float> want = golden(name);
  ASSERT_EQ(y.size(), want.size());
  double largest = 0.0;
  for (const float v : want) largest = std::max(largest, std::abs(static_cast<double>(v)));
  EXPECT_GT(largest, 1e-3);  // a test that compares silence would pass
  for (std::size_t i = 0; i < y.size(); ++i) {
    const double error = std::abs(static_cast<double>(y[i]) - static_cast<double>(want[i]));
    ASSERT_TRUE(error <= 1e-5 * largest) << name << ", sample " << i << ": " << y[i] << ", NAM Core has " << want[i];
  }
}

// Takes the weights of a .nam file one after the other.
class Weights {
 public:
  explicit Weights(const json& file) {
    for (const json& w : file["weights"]) all_.push_back(w.get<float>());
  }
  Vec take(std::size_t n) {
    if (at_ + n > all_.size()) {
      ADD_FAILURE() << "only " << all_.size() << " weights";
      return Vec(n);
    }
    at_ += n;
    return Vec(all_.begin() + static_cast<long>(at_ - n), all_.begin() + static_cast<long>(at_));
  }
  bool all_taken() const { return at_ == all_.size(); }

 private:
  std::vector<double> all_;
  std::size_t at_ = 0;
};

// The numbers that a file with knobs reads for their values, in the order of its "params"; none without.
Vec encoded(const json& file, const std::vector<double>& values) {
  Vec controls;
  for (std::size_t i = 0; i < values.size(); ++i) {
    const json& p = file["config"]["params"][i];
    const double lo = p["min"], hi = p["max"];
    if (p["type"] == "continuous") controls.push_back(2 * (values[i] - lo) / (hi - lo) - 1);
    for (std::size_t k = 0; p["type"] == "switch" && k < p["enum_names"].size(); ++k) {
      controls.push_back(static_cast<double>(k) == values[i] ? 1.0 : 0.0);
    }
  }
  return controls;
}

Vec play_lstm(const json& file, const Vec& x, const std::vector<double>& values = {}) {
  const json& c = file["config"];
  const Vec controls = encoded(file, values);
  Vec signal;  // (T, 1 + controls)
  for (const double sample : x) {
    signal.push_back(sample);
    signal.insert(signal.end(), controls.begin(), controls.end());
  }
  const int H = c["hidden_size"], L = c["num_layers"], T = static_cast<int>(x.size());
  const auto n = static_cast<std::size_t>(H);
  Weights weights(file);
  for (int l = 0; l < L; ++l) {
    const int in = l == 0 ? c["input_size"].get<int>() : H;
    const Vec w = weights.take(4 * n * static_cast<std::size_t>(in + H)), bias = weights.take(4 * n);
    const Vec h0 = weights.take(n), c0 = weights.take(n);
    const Vec h = reference::lstm_forward(signal, h0, c0, w, bias, {T, 1, in, H}).h;
    signal.assign(h.begin() + H, h.end());
  }
  const Vec head = weights.take(n), bias = weights.take(1);
  EXPECT_TRUE(weights.all_taken());
  Vec y;
  for (int t = 0; t < T; ++t) {
    y.push_back(bias[0]);
    for (int k = 0; k < H; ++k)
      y.back() += head[static_cast<std::size_t>(k)] * signal[static_cast<std::size_t>(t * H + k)];
  }
  return y;
}

// What a net of dense layers, tanh between them, makes of x.
Vec encoder(Vec x, Weights& weights, const json& sizes, std::size_t outputs) {
  std::vector<std::size_t> widths = sizes;
  widths.push_back(outputs);
  for (std::size_t l = 0; l < widths.size(); ++l) {
    const Vec w = weights.take(widths[l] * x.size());
    Vec y = weights.take(widths[l]);
    for (std::size_t o = 0; o < y.size(); ++o) {
      for (std::size_t i = 0; i < x.size(); ++i) y[o] += w[o * x.size() + i] * x[i];
      if (l + 1 < widths.size()) y[o] = std::tanh(y[o]);
    }
    x = y;
  }
  return x;
}

// z becomes scale z + shift, both of the condition.
void modulate(reference::WavenetLayer& p, Weights& weights, const Vec& condition, std::size_t Z) {
  const Vec w = weights.take(2 * Z * condition.size());
  Vec m = weights.take(2 * Z);
  for (std::size_t o = 0; o < m.size(); ++o) {
    for (std::size_t i = 0; i < condition.size(); ++i) m[o] += w[o * condition.size() + i] * condition[i];
  }
  for (std::size_t i = 0; i < p.w.size(); ++i) p.w[i] *= m[i * Z / p.w.size()];
  for (std::size_t o = 0; o < Z; ++o) {
    p.mixer[o] *= m[o];
    p.bias[o] = m[o] * p.bias[o] + m[Z + o];
  }
}

Vec play_wavenet(const json& file, const Vec& signal, const std::vector<double>& values = {}) {
  const json& arrays = file["config"]["layers"];
  int context = 0;
  for (const json& a : arrays) {
    for (const int d : a["dilations"]) context += (a["kernel_size"].get<int>() - 1) * d;
  }
  const int T = static_cast<int>(signal.size());
  Vec condition(static_cast<std::size_t>(context));  // silence before
  condition.insert(condition.end(), signal.begin(), signal.end());
  Weights weights(file);
  Vec of_knobs;
  if (!values.empty()) {
    const json& net = file["config"]["param_encoder"];
    EXPECT_EQ(net["activation"], "Tanh");
    of_knobs = encoder(encoded(file, values), weights, net["hidden_sizes"], net["out_features"]);
  }
  Vec y = condition, head;
  long length = context + T;
  for (const json& a : arrays) {
    const int in = a["input_size"], C = a["channels"], K = a["kernel_size"], out = a["head_size"];
    const bool gated = a["gated"];
    const auto n = static_cast<std::size_t>(C), Z = gated ? 2 * n : n;
    y = reference::conv1x1_forward(y, weights.take(n * static_cast<std::size_t>(in)), {},
                                   {in, C, static_cast<int>(length), length, length});
    if (head.empty()) head.assign(n * signal.size(), 0.0);
    for (const int dilation : a["dilations"]) {
      reference::WavenetLayer p;
      p.w = weights.take(Z * n * static_cast<std::size_t>(K));
      p.bias = weights.take(Z);
      p.mixer = weights.take(Z);
      p.w1 = weights.take(n * n);
      p.bias1 = weights.take(n);
      if (!of_knobs.empty()) {
        EXPECT_EQ(a["film_condition_size"], of_knobs.size());
        EXPECT_EQ(a["activation_pre_film"], json::parse(R"({"active": true, "shift": true, "groups": 1})"));
        modulate(p, weights, of_knobs, Z);
      }
      const long made = length - static_cast<long>(K - 1) * dilation;
      Vec saved;
      y = reference::wavenet_layer_forward(head, saved, y, Vec(condition.end() - made, condition.end()), p,
                                           {C, K, dilation, static_cast<int>(made), T, gated, length, made, T});
      length = made;
    }
    const Vec w = weights.take(static_cast<std::size_t>(out) * n);
    const Vec bias = a["head_bias"] ? weights.take(static_cast<std::size_t>(out)) : Vec();
    head = reference::conv1x1_forward(head, w, bias, {C, out, T, T, T});
  }
  const double scale = weights.take(1)[0];
  EXPECT_TRUE(weights.all_taken());
  EXPECT_EQ(static_cast<float>(scale), file["config"]["head_scale"].get<float>());
  for (double& v : head) v *= scale;
  return head;
}

class Nam : public ::testing::TestWithParam<int> {
 protected:
  Case of_test() const { return nam_test::cases()[static_cast<std::size_t>(GetParam())]; }
};

TEST_P(Nam, AStudentPlaysWhatCorePlays) {
  const Case c = of_test();
  const std::vector<float> x = nam_test::signal();
  const ModelFile file = nam_test::student_of(c);
  for (const Isa isa : {Isa::kPortable, best_isa()}) {
    SCOPED_TRACE(to_string(isa));
    Context context;
    context.isa = isa;
    std::vector<float> y(x.size());
    file.model->stream(context)->process(y.data(), x.data(), x.size());
    expect_golden(y, c.name);
  }
}

TEST_P(Nam, AFileHoldsWhatCorePlays) {
  const Case c = of_test();
  const std::vector<float> x = nam_test::signal();
  const json file = json::parse(nam_text(nam_test::student_of(c), "a name"));
  EXPECT_EQ(file["version"], "0.5.4");
  EXPECT_EQ(file["sample_rate"], 16000);
  EXPECT_EQ(file["metadata"]["name"], "a name");
  EXPECT_EQ(file["architecture"], std::string(c.config->type()) == "lstm" ? "LSTM" : "WaveNet");
  const Vec signal(x.begin(), x.end());
  expect_golden(std::string(c.config->type()) == "lstm" ? play_lstm(file, signal) : play_wavenet(file, signal), c.name);
}

INSTANTIATE_TEST_SUITE_P(Cases, Nam, ::testing::Range(0, static_cast<int>(nam_test::cases().size())),
                         [](const auto& index) {
                           std::string name = nam_test::cases()[static_cast<std::size_t>(index.param)].name;
                           std::replace(name.begin(), name.end(), '-', '_');
                           return name;
                         });

// A model with knobs at one position is a student without any.
TEST(NamFile, HoldsAModelAtAPositionOfItsKnobs) {
  for (const char* name : {"lstm-nano", "wavenet-nano", "wavenet-odd"}) {
    SCOPED_TRACE(name);
    auto all = nam_test::cases();
    Case c = *std::find_if(all.begin(), all.end(), [&](const Case& k) { return k.name == name; });
    c.config->knobs = {"gain: 0..10", "mode: a|b|c"};
    const ModelFile file = nam_test::student_of(c);
    EXPECT_EQ(why_not_nam(*file.model), "");
    const std::vector<float> x = nam_test::signal();
    Vec before;
    for (const float gain : {-0.5f, 0.9f}) {
      file.model->turn_to({gain, 0.0f, 1.0f, 0.0f});
      const json text = json::parse(nam_text(file, "x"));
      const Vec got = name == std::string("lstm-nano") ? play_lstm(text, Vec(x.begin(), x.end()))
                                                       : play_wavenet(text, Vec(x.begin(), x.end()));
      std::vector<float> y(x.size());
      file.model->stream({})->process(y.data(), x.data(), y.size());
      double largest = 0.0, moved = 0.0;
      for (const double v : got) largest = std::max(largest, std::abs(v));
      for (std::size_t i = 0; i < before.size(); ++i) moved = std::max(moved, std::abs(got[i] - before[i]));
      EXPECT_TRUE(before.empty() || moved > 0.01 * largest) << "the position is not heard";
      for (std::size_t i = 0; i < y.size(); ++i) ASSERT_LE(std::abs(got[i] - y[i]), 1e-5 * largest) << i;
      before = got;
    }
  }
}

// All positions in one file, as the parametric fork reads it: switches of two positions and of three, a range.
TEST(NamFile, HoldsTheKnobsOfAModelThatIsNotTurned) {
  for (const char* name : {"lstm-lite", "wavenet-nano", "wavenet-odd"}) {
    SCOPED_TRACE(name);
    auto all = nam_test::cases();
    Case c = *std::find_if(all.begin(), all.end(), [&](const Case& k) { return k.name == name; });
    c.config->knobs = {"gain: 2..10 dB", "bright: off|on", "mode: a|b|c"};
    const ModelFile file = nam_test::student_of(c);
    const json text = json::parse(nam_text(file, "x"));
    EXPECT_EQ(text["version"], "1.0.0");
    EXPECT_EQ(text["architecture"], std::string(c.config->type()) == "lstm" ? "ConcatLSTM" : "FiLMWaveNet");
    EXPECT_EQ(text["config"]["params"], json::parse(R"([
      {"name": "gain", "min": 2.0, "max": 10.0, "default": 6.0, "type": "continuous", "enum_names": null, "step": null},
      {"name": "bright", "min": 0.0, "max": 1.0, "default": 0.0, "type": "switch", "enum_names": ["off", "on"],
       "step": null},
      {"name": "mode", "min": 0.0, "max": 2.0, "default": 0.0, "type": "switch", "enum_names": ["a", "b", "c"],
       "step": null}])"));
    const std::vector<float> x = nam_test::signal();
    // A recurrent model begins at rest at the default, so that it is held where the start is forgotten.
    const std::size_t from = std::string(c.config->type()) == "lstm" ? 3000 : 0;
    for (const auto& values : {std::vector<double>{6, 0, 0}, {9, 1, 0}, {2, 0, 2}}) {
      const Vec signal(x.begin(), x.end());
      const Vec got = from > 0 ? play_lstm(text, signal, values) : play_wavenet(text, signal, values);
      file.model->turn_to(controls_at(parse_knobs(c.config->knobs, "test"), values));
      std::vector<float> y(x.size());
      file.model->stream({})->process(y.data(), x.data(), y.size());
      double largest = 0.0;
      for (const double v : got) largest = std::max(largest, std::abs(v));
      for (std::size_t i = from; i < y.size(); ++i) ASSERT_LE(std::abs(got[i] - y[i]), 1e-5 * largest) << i;
    }
  }
}

// The measured loss of quality goes along.
TEST(NamFile, CarriesTheQuality) {
  ModelFile file = nam_test::student_of(nam_test::cases()[0]);
  EXPECT_FALSE(json::parse(nam_text(file, "x"))["metadata"].contains("training"));
  file.metadata["quality"] = R"({"part":"validation","notes":1,"student_target":{"esr":0.25,"mae":0.5}})";
  file.metadata["run_hash"] = "abc";
  const json read = json::parse(nam_text(file, "x"));
  EXPECT_EQ(read["metadata"]["training"]["validation_esr"], 0.25);
  EXPECT_EQ(read["metadata"]["cafx"]["quality"]["notes"], 1);
  EXPECT_EQ(read["metadata"]["cafx"]["run_hash"], "abc");
}

TEST(NamFile, SaysWhatTheFormatCannotExpress) {
  EXPECT_EQ(why_not_nam(*nam_test::student_of(nam_test::cases()[0]).model), "");
  ModelFile file;
  file.model = make_model(*AnyConfig());
  EXPECT_NE(why_not_nam(*file.model).find("cafx distill"), std::string::npos);
  EXPECT_THROW(nam_text(file, "x"), Error);
}

// Before students were models like any other their files said so: model "student", the fields under the kind's name.
TEST(WeightsFile, AFileOfAStudentIsReadAsAModelOfItsKind) {
  const TemporaryFolder folder;
  const auto path = folder.path() / "s.safetensors";
  for (const Case& c : nam_test::cases()) {
    const ModelFile file = nam_test::student_of(c);
    save_model(path, *file.model, {{"licence", "free"}});
    Safetensors old = read_safetensors(path);
    const std::string kind = c.config->type();
    json fields = json::parse(old.metadata["config"]), before = {{"kind", kind}};
    for (const auto& [key, value] : fields.items()) {
      before[key == "sample_rate" ? key : kind + "." + key] = value;
    }
    before[kind == "lstm" ? "wavenet.taps" : "lstm.hidden"] = 3;  // of the other kind
    old.metadata["config"] = before.dump();
    old.metadata["model"] = "student";
    old.metadata["kind"] = kind;
    old.metadata.erase("form");
    old.metadata.erase("checksum");
    write_safetensors(path, old);
    const ModelFile back = load_model(path);
    EXPECT_EQ(back.metadata.at("licence"), "free");
    EXPECT_EQ(back.model->config().type(), kind);
    ASSERT_EQ(back.model->n_floats(), file.model->n_floats());
    for (long i = 0; i < back.model->n_floats(); ++i) ASSERT_EQ(back.model->data()[i], file.model->data()[i]);
  }
}

}  // namespace
}  // namespace cafx
