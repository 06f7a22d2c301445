#include "experiments/eq/filters.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <sstream>

#include "datasets/audio_file.h"
#include "datasets/dataset.h"
#include "datasets/effects.h"
#include "datasets/idmt.h"
#include "datasets/readers/reader.h"
#include "host/render/render.h"
#include "kernels/base/error.h"
#include "models/play/weights_file.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

constexpr int kNoFx = 11;            // IDMT's code of an unprocessed note
constexpr double kPeak = 0.1;        // of noise and sweeps: beside the notes, and far from clipping after 9 dB
constexpr unsigned kProbeSeed = 99;  // of the noise that is measured with
constexpr int kPoints = 160;         // of a response
constexpr double kLowestHz = 50.0;

void write(const fs::path& file, std::span<const float> x, int rate) {
  if (!fs::exists(file)) write_audio(file, x, rate, SampleFormat::kFloat);
}

// Means over the frequencies where the filter lets enough through to be heard.
void add_errors(Learned& f, const Response& truth) {
  double magnitude = 0.0, delay = 0.0;
  int n = 0;
  for (std::size_t i = 0; i < truth.hz.size(); ++i) {
    if (truth.magnitude_db[i] < kFloorDb) continue;
    magnitude += std::abs(f.response.magnitude_db[i] - truth.magnitude_db[i]);
    delay += std::abs(f.response.delay_ms[i] - truth.delay_ms[i]);
    ++n;
  }
  f.magnitude_error_db = n > 0 ? magnitude / n : std::nan("");
  f.delay_error_ms = n > 0 ? delay / n : std::nan("");
}

void measure(const Task& task, const Store& store, const Context& context, std::vector<LearnedFilter>& all) {
  const RunConfig config = config_of_json(task.config, task.folder);
  const ModelFile file = load_model(store.run(task));
  const int rate = file.model->geometry().sample_rate, hop = file.model->geometry().frame / 4;
  const Dataset data = load_dataset(config.data, rate);
  const Evaluation test = evaluate(*file.model, context, data, split_dataset(data, config.data).test, "test", hop);
  const auto probe = white_noise(12 * kResponseFrame, kPeak, kProbeSeed);
  const auto response = [&](std::span<const float> y) {
    return measure_response(probe, y, rate, kLowestHz, 0.45 * rate, kPoints);
  };

  const std::string& chain = config.data.chain;
  auto f = std::find_if(all.begin(), all.end(), [&](const LearnedFilter& l) { return l.chain == chain; });
  if (f == all.end()) {
    f = all.insert(f, {chain, filter_name(chain), rate, hop, response(apply_chain(chain, probe, rate)), 0.0, 0.0, {}});
    for (const NoteResult& r : test.notes) {
      const auto n = static_cast<double>(test.notes.size());
      f->dry_esr += r.dry.esr / n;
      f->zero_phase_esr += zero_phase_esr(r.input, r.target) / n;
    }
  }
  Learned l{loss_name(config.train.loss), task.folder, {}, 0.0, 0.0, test.mean.esr};
  l.response = response(render_signal(*file.model, context, probe.data(), probe.size(), hop));
  add_errors(l, f->truth);
  f->learned.push_back(std::move(l));
}

}  // namespace

std::string loss_name(const LossConfig& loss) {
  std::string text;
  const auto term = [&](double weight, const char* name) {
    if (weight == 0.0) return;
    if (!text.empty()) text += " + ";
    text += weight == 1.0 ? name : fmt::format("{:g} {}", weight, name);
  };
  term(loss.mae, "MAE");
  term(loss.mse, "MSE");
  term(loss.esr, "ESR");
  term(loss.dc, "DC");
  term(loss.log_cosh, "log-cosh");
  term(loss.mr_stft, "MR-STFT");
  return text;
}

std::string filter_name(const std::string& chain) {
  std::istringstream in(chain);
  std::string effect, a, b, c, more;
  in >> effect >> a >> b >> c >> more;
  const bool shelf = (effect == "bass" || effect == "treble") && !b.empty() && c.empty();
  if (shelf) return fmt::format("{} shelf, {} Hz, {} dB", effect == "bass" ? "low" : "high", b, a);
  if (effect == "equalizer" && !c.empty() && more.empty()) return fmt::format("peak, {} Hz, {} dB", a, c);
  if (effect == "highpass" && !a.empty() && b.empty()) return "high-pass, " + a + " Hz";
  if (effect == "lowpass" && !a.empty() && b.empty()) return "low-pass, " + a + " Hz";
  return chain;
}

std::vector<LearnedFilter> measure_filters(const std::vector<Task>& tasks, const Store& store, const Context& context) {
  std::vector<LearnedFilter> all;
  for (const Task& t : tasks) {
    if (t.kind == TaskKind::kTrain && store.outcome(t).state == State::kDone) measure(t, store, context, all);
  }
  return all;
}

void write_dry_files(const fs::path& notes, const fs::path& folder, int sample_rate) {
  std::error_code error;
  fs::create_directories(folder, error);
  if (error) throw Error("{}: cannot be made: {}; choose another --out", folder.string(), error.message());
  int n_notes = 0;
  for (const fs::path& file : find_audio_files(notes)) {
    const auto name = parse_idmt_name(file.stem().string());
    if (!name || name->effect != kNoFx) continue;
    const fs::path copy = folder / (file.stem().string() + ".wav");
    if (!fs::exists(copy)) write(copy, read_audio(file, sample_rate).samples, sample_rate);
    ++n_notes;
  }
  if (n_notes == 0) throw Error("{}: holds no dry notes of IDMT-SMT-Audio-Effects", notes.string());
  const auto n = static_cast<std::size_t>(2 * sample_rate);
  const double highest = 0.48 * sample_rate;
  for (unsigned i = 0; i < 6; ++i) {
    write(folder / fmt::format("noise-{}.wav", i), white_noise(n, kPeak, 1 + i), sample_rate);
    write(folder / fmt::format("sweep-{}.wav", i), sine_sweep(n, kPeak, 20.0 * (i + 1), highest, sample_rate),
          sample_rate);
  }
  write(folder / "validation-noise.wav", white_noise(n, kPeak, 50), sample_rate);
  write(folder / "validation-sweep.wav", sine_sweep(n, kPeak, 33.0, highest, sample_rate), sample_rate);
  write(folder / "test-noise.wav", white_noise(n, kPeak, 60), sample_rate);
}

}  // namespace cafx
