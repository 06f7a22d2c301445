#include "host/render/render_file.h"

#include <cmath>
#include <cstdlib>

#include "datasets/audio_file.h"
#include "datasets/find/channels.h"
#include "host/cli/common.h"
#include "host/cli/progress.h"
#include "host/train/results.h"
#include "models/play/weights_file.h"
#include "models/registry.h"

namespace cafx {

namespace {

// What a model makes of an input far louder than what it learned from is a guess.
constexpr double kMuchLouderDb = 6.0;

std::string too_loud(const ModelFile& file, double peak) {
  const auto found = file.metadata.find("training_peak");
  if (found == file.metadata.end()) return "";
  const double trained = std::strtod(found->second.c_str(), nullptr), db = 20.0 * std::log10(peak / trained);
  if (!(trained > 0.0) || !(db > kMuchLouderDb)) return "";
  return fmt::format(
      "warning: the input peaks at {:.1f} dB, {:.0f} dB over the loudest that the model was trained on ({:.1f} dB); "
      "what it "
      "plays there is a guess: turn the input down, or train on notes as loud",
      20.0 * std::log10(peak), db, 20.0 * std::log10(trained));
}

// A model that was trained on recordings turned up or down expects the same of what it plays.
std::string turned_in_training(const ModelFile& file) {
  const auto found = file.metadata.find(kDryGain);
  if (found == file.metadata.end()) return "";
  return fmt::format(
      "warning: the model was trained on dry recordings with data.dry_gain_db = {}, and this file is played as it is; "
      "give its input the same gain",
      found->second);
}

// What is played of a file with several channels, as training would take it: -1 for their mean. `say` gets a sentence
// where it is another, and a warning where the channels have nothing in common.
int choose_input(const std::string& in, const std::string& asked, const std::function<void(const Finding&)>& say) {
  if (const auto stated = stated_channel(asked)) return *stated;
  if (AudioReader(in).channels() == 1) return -1;
  ChannelScan scan;
  try {
    scan = scan_channels(in);
  } catch (const DamagedAudio&) {  // told where it is played
    return -1;
  }
  std::vector<Finding> findings;
  const int channel = choose_channel(scan, DataConfig(), false, in, findings).channel;
  for (const Finding& f : findings) say(f);
  return channel;
}

}  // namespace

void add_render(CLI::App& app, Run& run) {
  struct Arguments {
    std::string model, in, out;
    int hop = 0, block = 64;
    bool quiet = false, stream = false, force = false, as_float = false;
    std::string channel = "auto";
    std::vector<std::string> knobs;
    DeviceOptions device;
  };
  auto args = std::make_shared<Arguments>();
  CLI::App* c = app.add_subcommand("render", "play a file through a model");
  c->add_option("model", args->model, "folder of a run, or a weights file")->required();
  c->add_option("in", args->in, "audio file of any rate, length and format")->required();
  c->add_option("out", args->out, "file to write, .wav or .flac, of the same rate and length, one channel")->required();
  c->add_option("--hop", args->hop, "samples between frames at the model's rate; smaller is smoother and slower")
      ->check(CLI::Range(1, kLargestHop));
  CLI::Option* stream = c->add_flag("--stream", args->stream,
                                    "as a real-time effect does it: one thread, one block at a time; to the same bits");
  c->add_option("--block", args->block, "samples in a block of --stream, at the model's rate")
      ->check(CLI::Range(1, 1 << 20))
      ->needs(stream)
      ->capture_default_str();
  c->add_option("--knob", args->knobs, "where a knob of the model stands; may be repeated")
      ->allow_extra_args(false)
      ->option_text("NAME=VALUE");
  c->add_option("--channel", args->channel,
                "of a file with several: auto, mean, left, right, or a number from 1; auto plays what training would")
      ->option_text("NAME")
      ->capture_default_str();
  c->add_flag(
      "--float", args->as_float,
      "32-bit float samples, which hold what is over full scale; without it 24 bits, or float for a float file");
  c->add_flag("--force", args->force, "overwrite a file that cafx did not make");
  c->add_flag("--quiet", args->quiet, "no progress");
  args->device.add_to(*c);
  args->device.add_precision_to(*c, "of the products' operands; fp32 by default, whatever the model was trained in");
  c->footer(
      "Example:  cafx render runs/ds1 guitar.wav guitar-ds1.wav --hop 256\n"
      "          cafx render runs/ds1 guitar.wav guitar-ds1.wav --hop 64 --stream --block 64\n"
      "          cafx render runs/muff guitar.wav guitar-muff.wav --knob gain=7 --knob tone=2");
  c->callback([args, &run] {
    run = [args] {
      const ModelFile file = load_model(args->model);
      turn_knobs(*file.model, args->knobs);
      refuse_hop(*file.model, args->model, args->hop > 0);
      if (!args->force) refuse_to_overwrite(args->out, "choose another name, or overwrite it with --force");
      const OwnedContext own(args->device);
      check_precision(file.model->config(), own.context.precision, "--precision");
      ProgressLine line(args->quiet);
      const auto progress = [&](double done) { line.show(done, args->out); };
      const int channel = choose_input(args->in, args->channel, [&](const Finding& f) {
        const std::string text = fmt::format("{}: {}", f.file, f.text);
        if (f.severity == Severity::kInfo) {
          line.line(text);
        } else if (f.severity == Severity::kWarning) {
          line.warning(text + "; --channel chooses");
        } else {
          line.warning(text + ", and their mean is played; --channel chooses");
        }
      });
      const auto report = [&](const RenderStats& s) {
        for (const std::string& note : s.notes) line.warning(fmt::format("{}: {}", args->in, note));
        if (const int rate = file.model->geometry().sample_rate; s.rate_in > rate) {
          line.line(fmt::format("the model works at {} Hz, the file at {}: nothing above {:.1f} kHz is heard", rate,
                                s.rate_in, 5e-4 * rate));
        }
        if (s.channels_in > 1 && channel < 0) {
          line.line(fmt::format("the mean of {} channels was rendered", s.channels_in));
        }
        for (const std::string& text : {too_loud(file, s.peak_in), turned_in_training(file)}) {
          if (!text.empty()) line.warning(fmt::format("{}: {}", args->in, text));
        }
        if (s.clipped > 0) {
          line.warning(fmt::format("{} samples were over full scale and were cut to it; --float keeps them, in a .wav",
                                   s.clipped));
        }
      };
      const int hop = args->hop > 0 ? args->hop : file.model->geometry().hop;
      const RenderOptions options{hop, args->stream ? args->block : 0, channel, args->as_float};
      const RenderStats s = render_file(*file.model, own.context, args->in, args->out, options, progress);
      line.line(fmt::format("{}: {:.2f} s of audio in {:.2f} s, {:.1f} times real time{}", args->out,
                            s.seconds_of_audio, s.seconds, s.seconds_of_audio / s.seconds,
                            hop > 0 ? fmt::format(", hop {}", hop) : ""));
      if (const std::string at = position_text(*file.model, args->knobs); !at.empty()) {
        line.line(fmt::format("played at {}; --knob NAME=VALUE chooses", at));
      }
      if (args->stream) {
        const double rate = file.model->geometry().sample_rate;
        line.line(fmt::format(
            "as a stream: {} samples of latency ({:.1f} ms); a block of {} lasts {:.2f} ms and took {:.3f} ms in the "
            "median, {:.3f} at worst",
            s.latency, 1e3 * s.latency / rate, args->block, 1e3 * args->block / rate, s.median_block_ms,
            s.worst_block_ms));
      }
      report(s);
      return 0;
    };
  });
}

}  // namespace cafx
