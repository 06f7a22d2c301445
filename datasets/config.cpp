#include "datasets/config.h"

#include <algorithm>
#include <charconv>
#include <cmath>

#include "datasets/finding.h"
#include "datasets/readers/naming.h"
#include "datasets/readers/reader.h"
#include "kernels/base/describe.h"
#include "kernels/base/error.h"
#include "kernels/base/knobs.h"

namespace cafx {

namespace {

const std::vector<std::string>& all_repairs() {
  static const std::vector<std::string> names = {"channel", "scale", "dc", "latency", "drift", "steps"};
  return names;
}

// What a finding may be called (finding.h): refusals, then warnings.
const std::vector<std::string>& all_codes() {
  static const std::vector<std::string> names = {
      "channels",   "drift",     "identical", "latency",  "leak",       "length",   "mismatch", "names",
      "not_finite", "polarity",  "rate",      "scale",    "settings",   "silence",  "steps",    "wander",
      "links",      "positions", "bits",      "clipping", "dc",         "dropouts", "excerpt",  "gain",
      "header",     "hum",       "judge",     "lossy",    "normalised", "noise",    "swapped",  "version"};
  return names;
}

// With other words for people; runs keep the hash of the former ones.
Field formerly(std::string words, Field f) {
  f.hashed = std::move(words);
  return f;
}

bool is_text(const std::string& s) { return printable(s) == s; }

}  // namespace

Fields describe(DataConfig& c) {
  std::vector<std::string> names;
  for (const Reader& reader : readers()) names.push_back(reader.name);
  Field reader =
      choice("reader", c.reader, names, "how dry and wet are found: a layout of names, two folders, two files");
  reader.hashed =
      "how dry and wet are found: IDMT folder, two folders, two files (idmt, folders, files)";  // with another reader in the table, runs keep their hash
  return {
      std::move(reader),
      formerly("idmt: folder of the data set, searched recursively",
               path("path", c.path, "folder of the data set, searched recursively; manifest, nam-json: the file")),
      path("dry", c.dry, "folders, files: folder of the dry files, or the dry file"),
      path("wet", c.wet, "folders, files: folder of the wet files with the same names, or the wet file"),
      choice("instrument", c.instrument, {"guitar", "bass", "polyphonic", "all"}, "idmt: which notes"),
      field("effect", c.effect, "idmt: Distortion, Overdrive, EQ, FxChain, Chorus, ..."),
      field("setting", c.setting, 0, 9, "idmt: setting of the effect; 0: all"),
      field("chain", c.chain, "SoX effects that make the wet audio from the dry, or fxchain1, fxchain2, fxchain3"),
      field("segment_seconds", c.segment_seconds, 0.1, 3600, "files: pieces that count as notes, in seconds"),
      formerly("what stays on one side: a note, or an instrument setting (note, instrument)",
               choice("split", c.split, {"note", "instrument", "knobs"},
                      "what stays on one side: a note, an instrument setting, or a position of the knobs")),
      field("validation", c.validation, 0, 0.9, "share of notes for validation, at least one"),
      field("test", c.test, 0, 0.9, "share of notes for the test, at least one"),
      field("validation_notes", c.validation_notes, "notes for validation, by the beginning of their names"),
      field("test_notes", c.test_notes, "notes for the test, by the beginning of their names"),
      field("seed", c.seed, 0, 9e15, "of the split"),
      field("align", c.align, "latency between dry and wet is taken out where it is sure"),
      field("invert", c.invert, "the wet audio is inverted"),
      field("dry_gain_db", c.dry_gain_db, -120, 120, "gain on the dry audio, in dB"),
      field("wet_gain_db", c.wet_gain_db, -120, 120, "gain on the wet audio, in dB"),
      field("level_copies", c.level_copies, 0, 100,
            "training notes again at other levels, so many times each; needs data.chain, which makes their wet audio"),
      field("level_range_db", c.level_range_db, 0, 60,
            "gains of those copies: drawn evenly from minus to plus this, in dB"),
      field("allow", c.allow, "findings of the doctor that do not stop training, by code (mismatch, silence, ...)"),
      late(field("repair", c.repair,
                 "what the doctor may mend where it is sure: channel, scale, dc, latency, drift, steps")),
      late(field("drift", c.drift, "auto, off, or the parts per million by which the clock of wet runs slow")),
      late(field("dry_channel", c.dry_channel, "of files with several: auto, mean, left, right, or a number from 1")),
      late(field("wet_channel", c.wet_channel, "of files with several: auto, mean, left, right, or a number from 1")),
      late(
          formerly("folders: names of dry files, * for what a pair shares, as *_dry",
                   field("dry_pattern", c.dry_pattern,
                         "folders: names of dry files, * for what a pair shares, as *_dry; pattern: as data.pattern"))),
      late(field("wet_pattern", c.wet_pattern, "folders: names of wet files, * for what a pair shares, as *_wet")),
      late(field("pattern", c.pattern,
                 "pattern: names of wet files in data.path, as {device}/gain{knob:gain}/{note} or "
                 "{split}/{note}-{side:input,target}")),
      late(field("select", c.select, "which of several devices, knob positions, ...: NAME=VALUE")),
      late(field("knobs", c.knobs,
                 "knobs that the model learns, in place of one setting: NAME: LOWEST..HIGHEST UNIT, or NAME: OFF|ON")),
      late(field("shift_copies", c.shift_copies, 0, 15,
                 "training notes again, dry and wet shifted by the same part of a sample, so many times each")),
      late(field("given_split", c.given_split, "training, validation and test parts that the data set gives stay")),
  };
}

bool repairs(const DataConfig& c, const std::string& what) {
  const bool in_time = what == "latency" || what == "drift" || what == "steps";
  return (c.align || !in_time) && std::find(c.repair.begin(), c.repair.end(), what) != c.repair.end();
}

std::optional<double> stated_drift(const DataConfig& c) {
  double ppm = 0.0;
  const char* end = c.drift.data() + c.drift.size();
  const auto [at, error] = std::from_chars(c.drift.data(), end, ppm);
  if (error != std::errc() || at != end) return std::nullopt;
  return ppm;
}

std::optional<int> stated_channel(const std::string& text) {
  if (text == "auto") return std::nullopt;
  if (text == "mean") return -1;
  if (text == "left") return 0;
  if (text == "right") return 1;
  int n = 0;
  const char* end = text.data() + text.size();
  const auto [at, error] = std::from_chars(text.data(), end, n);
  if (error != std::errc() || at != end || n < 1 || n > 1024) {
    throw Error("channel \"{}\": expected auto, mean, left, right, or a number from 1", text);
  }
  return n - 1;
}

void check(const DataConfig& c, const std::string& where) {
  for (const std::string& name : c.repair) {
    const auto& known = all_repairs();
    if (std::find(known.begin(), known.end(), name) == known.end()) {
      throw Error("{}: data.repair names \"{}\"; known are channel, scale, dc, latency, drift, steps", where, name);
    }
  }
  for (const std::string& code : c.allow) {
    const auto& known = all_codes();
    if (std::find(known.begin(), known.end(), code) == known.end()) {
      throw Error("{}: data.allow names \"{}\", which no finding is called{}", where, code,
                  did_you_mean(code, known, true));
    }
  }
  for (const auto& [key, text] : {std::pair("dry_channel", &c.dry_channel), std::pair("wet_channel", &c.wet_channel)}) {
    try {
      stated_channel(*text);
    } catch (const Error& e) {
      throw Error("{}: data.{}: {}", where, key, e.what());
    }
  }
  const auto ppm = stated_drift(c);
  if ((!ppm && c.drift != "auto" && c.drift != "off") || (ppm && !(std::abs(*ppm) <= 20000.0))) {
    throw Error("{}: data.drift = \"{}\": expected auto, off, or parts per million from -20000 to 20000", where,
                c.drift);
  }
  for (const auto& [key, text] : {std::pair("dry_pattern", &c.dry_pattern), std::pair("wet_pattern", &c.wet_pattern)}) {
    if (c.reader != "pattern" && !text->empty() && std::count(text->begin(), text->end(), '*') != 1) {
      throw Error("{}: data.{} = \"{}\": expected one * for what the names of a pair share, as in *_dry", where, key,
                  *text);
    }
  }
  if (!c.pattern.empty()) Naming(c.pattern, where + ": data.pattern", c.dry_pattern, where + ": data.dry_pattern");
  parse_knobs(c.knobs, where + ": data.knobs");
  if (c.split == "knobs" && c.knobs.empty()) {
    throw Error("{}: data.split = \"knobs\" keeps positions of knobs for validation and test; name them by data.knobs",
                where);
  }
  if (!c.pattern.empty() && c.reader != "pattern") {
    throw Error("{}: data.pattern is read by data.reader = \"pattern\", not by \"{}\"", where, c.reader);
  }
  for (const std::string& entry : c.select) {
    const std::size_t equals = entry.find('=');
    if (equals == 0 || equals >= entry.size() - 1) {
      throw Error("{}: data.select = \"{}\": expected NAME=VALUE, as device=Muff", where, entry);
    }
  }
  for (const std::string* text : {&c.path, &c.dry, &c.wet}) {
    if (!is_text(*text)) {
      throw Error("{}: '{}' is not UTF-8, so no config can name it for a later resume; rename it", where,
                  printable(*text));
    }
  }
}

}  // namespace cafx
