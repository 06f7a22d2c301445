#include "datasets/dataset.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "datasets/audio_file.h"
#include "datasets/check.h"
#include "datasets/effects.h"
#include "datasets/idmt.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/rng.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

namespace {

namespace fs = std::filesystem;

std::string lower(std::string s) {
  for (char& c : s) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return s;
}

// Files to read for one note; wet is empty where a chain makes it.
struct Source {
  std::string name, group;
  fs::path dry, wet;
};

bool wanted_instrument(const std::string& wanted, char letter) {
  const std::string w = lower(wanted);
  if (w == "all") return true;
  if (w == "guitar" || w == "g") return letter == 'G';
  if (w == "bass" || w == "b") return letter == 'B';
  return letter == 'P';
}

std::vector<Source> find_idmt(const DataConfig& config, Dataset& data) {
  if (config.path.empty())
    throw Error("data.path is empty; give the folder of the data set, as --set data.path=FOLDER");
  const int effect = idmt_effect_code(config.effect);
  const bool by_chain = !config.chain.empty();
  std::map<std::string, fs::path> dry;
  std::vector<std::pair<IdmtName, fs::path>> wet;
  std::set<std::string> known;  // effects and settings that are there, for the error text
  int n_named = 0;
  for (const fs::path& path : find_audio_files(config.path)) {
    const auto name = parse_idmt_name(path.stem().string());
    if (!name) continue;
    ++n_named;
    if (!wanted_instrument(config.instrument, name->instrument)) continue;
    if (name->effect == 11) {
      dry.emplace(name->note, path);
    } else {
      known.insert(fmt::format("{} setting {}", path.parent_path().filename().string(), name->setting));
      if (!by_chain && name->effect == effect && (config.setting == 0 || name->setting == config.setting)) {
        wet.emplace_back(*name, path);
      }
    }
  }
  if (n_named == 0) {
    throw Error(
        "{}: holds no file named as in IDMT-SMT-Audio-Effects (such as G61-40100-1111-20593.wav); is it the "
        "folder that the archive was unpacked to? For other names use data.reader = \"folders\"",
        config.path);
  }
  if (dry.empty()) {
    throw Error("{}: holds no dry notes (NoFX) for data.instrument = \"{}\"; they are in part 1 of the data set",
                config.path, config.instrument);
  }
  std::vector<Source> sources;
  if (by_chain) {
    for (const auto& [note, path] : dry) sources.push_back({note, note.substr(0, 2), path, {}});
    return sources;
  }
  if (wet.empty()) {
    std::string list;
    for (const auto& k : known) list += (list.empty() ? "" : ", ") + k;
    throw Error("{}: holds no {}{} for data.instrument = \"{}\"; there are: {}", config.path, config.effect,
                config.setting ? fmt::format(" setting {}", config.setting) : "", config.instrument,
                list.empty() ? "dry notes alone" : list);
  }
  std::set<std::string> used;
  for (const auto& [name, path] : wet) {
    const auto found = dry.find(name.note);
    if (found == dry.end()) {
      data.unpaired.push_back(path.string() + ": wet, without a dry note of the same first nine characters");
      continue;
    }
    used.insert(name.note);
    sources.push_back({name.note, name.group, found->second, path});
  }
  for (const auto& [note, path] : dry) {
    if (!used.count(note))
      data.unpaired.push_back(path.string() + ": dry, without a wet version in this effect and setting");
  }
  return sources;
}

std::vector<Source> find_folders(const DataConfig& config, Dataset& data) {
  if (config.dry.empty()) throw Error("data.dry is empty; data.reader = \"folders\" needs the folder of the dry files");
  if (config.wet.empty() && config.chain.empty()) {
    throw Error("data.wet is empty; data.reader = \"folders\" needs the folder of the wet files, or data.chain");
  }
  const auto by_stem = [](const std::string& folder) {
    std::map<std::string, fs::path> files;
    for (const fs::path& path : find_audio_files(folder)) {
      files.emplace(lower(fs::relative(path, folder).replace_extension().string()), path);
    }
    return files;
  };
  const auto dry = by_stem(config.dry);
  std::vector<Source> sources;
  if (!config.chain.empty()) {
    for (const auto& [stem, path] : dry) sources.push_back({stem, stem.substr(0, 2), path, {}});
    return sources;
  }
  auto wet = by_stem(config.wet);
  for (const auto& [stem, path] : dry) {
    const auto found = wet.find(stem);
    if (found == wet.end()) {
      data.unpaired.push_back(path.string() + ": dry, without a wet file of the same name");
      continue;
    }
    sources.push_back({path.stem().string(), path.stem().string().substr(0, 2), path, found->second});
    wet.erase(found);
  }
  for (const auto& [stem, path] : wet)
    data.unpaired.push_back(path.string() + ": wet, without a dry file of the same name");
  return sources;
}

std::vector<Source> find_files(const DataConfig& config) {
  if (config.dry.empty() || (config.wet.empty() && config.chain.empty())) {
    throw Error("data.reader = \"files\" needs data.dry and data.wet (or data.chain), two audio files");
  }
  return {{fs::path(config.dry).stem().string(), "", config.dry, config.wet}};
}

void scale(std::vector<float>& x, double gain_db, bool invert) {
  const auto gain = static_cast<float>(std::pow(10.0, gain_db / 20.0) * (invert ? -1.0 : 1.0));
  if (gain == 1.0f) return;
  for (float& v : x) v *= gain;
}

Pair read_pair(const Source& source, const DataConfig& config, int sample_rate) {
  Pair pair;
  pair.name = source.name;
  pair.group = source.group;
  pair.dry_path = source.dry;
  pair.wet_path = source.wet;
  Audio dry = read_audio(source.dry, sample_rate);
  pair.dry_rate = dry.file_rate;
  pair.dry_bits = dry.file_bits;
  pair.dry_frames = static_cast<std::int64_t>(dry.samples.size());
  pair.dry_clipping = dry.clipping;
  pair.dry = std::move(dry.samples);
  if (config.chain.empty()) {
    Audio wet = read_audio(source.wet, sample_rate);
    pair.wet_rate = wet.file_rate;
    pair.wet_bits = wet.file_bits;
    pair.wet_frames = static_cast<std::int64_t>(wet.samples.size());
    pair.wet_clipping = wet.clipping;
    pair.wet = std::move(wet.samples);
  } else {
    pair.wet = apply_chain(config.chain, pair.dry, sample_rate);
    pair.wet_clipping = find_clipping(pair.wet, sample_rate);
    pair.wet_rate = pair.dry_rate;
    pair.wet_frames = pair.dry_frames;
  }
  if (pair.dry.size() < 64 || pair.wet.size() < 64) {
    throw Error("{}: holds {} samples at {} Hz, too few to learn from; at least 64 are needed",
                (pair.dry.size() < 64 ? source.dry : source.wet).string(), std::min(pair.dry.size(), pair.wet.size()),
                sample_rate);
  }
  scale(pair.dry, config.dry_gain_db, false);
  scale(pair.wet, config.wet_gain_db, config.invert);
  return pair;
}

// The dry note times a gain, and what the chain makes of it; what was measured of the file stays.
Pair at_level(const Pair& pair, const DataConfig& config, double gain_db, int sample_rate) {
  Pair copy = pair;
  copy.copy = true;
  scale(copy.dry, gain_db - config.dry_gain_db, false);  // as the chain hears it
  copy.wet = apply_chain(config.chain, copy.dry, sample_rate);
  scale(copy.dry, config.dry_gain_db, false);
  scale(copy.wet, config.wet_gain_db, config.invert);
  const std::size_t n = std::min(copy.dry.size(), copy.wet.size());
  copy.dry.resize(n);
  copy.wet.resize(n);
  return copy;
}

void add_level_copies(std::vector<Pair>& pairs, const DataConfig& config, int sample_rate) {
  if (config.level_copies == 0) return;
  if (config.chain.empty()) {
    throw Error(
        "data.level_copies = {}: the wet audio was recorded, and an effect that bends the signal answers another level "
        "with another sound; only data.chain can make it anew",
        config.level_copies);
  }
  const Pair same = at_level(pairs.front(), config, 0.0, sample_rate);
  double peak = 0.0, most = 0.0;
  for (std::size_t i = 0; i < std::min(same.wet.size(), pairs.front().wet.size()); ++i) {
    peak = std::max(peak, static_cast<double>(std::abs(same.wet[i])));
    most = std::max(most, static_cast<double>(std::abs(same.wet[i] - pairs.front().wet[i])));
  }
  if (!(most <= 1e-3 * peak)) {
    throw Error(
        "data.level_copies = {}: the latency of data.chain was taken out of the notes, which the copies would have; "
        "set "
        "data.align = false",
        config.level_copies);
  }
  const std::size_t n = pairs.size();
  for (int k = 0; k < config.level_copies; ++k) {
    const Rng rng{static_cast<std::uint64_t>(config.seed), 78u + static_cast<std::uint64_t>(k)};
    for (std::size_t i = 0; i < n; ++i) {
      const double gain_db = config.level_range_db * (2.0 * rng.uniform(i) - 1.0);
      pairs.push_back(at_level(pairs[i], config, gain_db, sample_rate));
    }
  }
}

// One long pair as pieces that count as notes, so that splits keep whole stretches of time together.
std::vector<Pair> cut(const Pair& whole, double seconds, int sample_rate) {
  const std::size_t n = std::min(whole.dry.size(), whole.wet.size());
  const auto piece = std::max<std::size_t>(64, static_cast<std::size_t>(seconds * sample_rate));
  std::vector<Pair> pieces;
  for (std::size_t at = 0; at + 64 <= n; at += piece) {
    const std::size_t end = std::min(n, at + piece);
    Pair p = whole;
    p.offset_seconds = static_cast<double>(at) / sample_rate;
    p.name = fmt::format("{}@{:.3f}", whole.name, p.offset_seconds);
    p.group = p.name;
    p.dry.assign(whole.dry.begin() + static_cast<long>(at), whole.dry.begin() + static_cast<long>(end));
    p.wet.assign(whole.wet.begin() + static_cast<long>(at), whole.wet.begin() + static_cast<long>(end));
    pieces.push_back(std::move(p));
  }
  return pieces;
}

}  // namespace

Fields describe(DataConfig& c) {
  return {
      choice("reader", c.reader, {"idmt", "folders", "files"},
             "how dry and wet are found: IDMT folder, two folders, two files"),
      path("path", c.path, "idmt: folder of the data set, searched recursively"),
      path("dry", c.dry, "folders, files: folder of the dry files, or the dry file"),
      path("wet", c.wet, "folders, files: folder of the wet files with the same names, or the wet file"),
      choice("instrument", c.instrument, {"guitar", "bass", "polyphonic", "all"}, "idmt: which notes"),
      field("effect", c.effect, "idmt: Distortion, Overdrive, EQ, FxChain, Chorus, ..."),
      field("setting", c.setting, 0, 9, "idmt: setting of the effect; 0: all"),
      field("chain", c.chain, "SoX effects that make the wet audio from the dry, or fxchain1, fxchain2, fxchain3"),
      field("segment_seconds", c.segment_seconds, 0.1, 3600, "files: pieces that count as notes, in seconds"),
      choice("split", c.split, {"note", "instrument"}, "what stays on one side: a note, or an instrument setting"),
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
  };
}

Dataset inspect_dataset(const DataConfig& config, int sample_rate) {
  Dataset data;
  const std::vector<Source> sources = config.reader == "idmt"      ? find_idmt(config, data)
                                      : config.reader == "folders" ? find_folders(config, data)
                                                                   : find_files(config);
  std::vector<Pair> pairs(sources.size());
  std::vector<std::string> failed(sources.size());
  ThreadPool pool(available_threads());
  pool.run(static_cast<int>(sources.size()), [&](int i, int) {
    const auto at = static_cast<std::size_t>(i);
    try {
      pairs[at] = read_pair(sources[at], config, sample_rate);
    } catch (const Error& e) {
      failed[at] = e.what();
    }
  });
  for (std::size_t i = 0; i < pairs.size(); ++i) {
    if (failed[i].empty()) {
      data.pairs.push_back(std::move(pairs[i]));
    } else {
      data.unreadable.push_back(failed[i]);
    }
  }
  if (data.pairs.empty()) {
    if (!data.unreadable.empty()) throw Error("{}", data.unreadable.front());
    throw Error("no dry and wet file belong together under '{}'; {}",
                config.reader == "idmt" ? config.path : config.dry,
                data.unpaired.empty() ? "there are no audio files" : data.unpaired.front());
  }
  // The doctor sees the whole pair, uneven lengths included; then both are cut to the shorter.
  data.findings = check_pairs(data.pairs, config, sample_rate);
  for (Pair& pair : data.pairs) {
    const std::size_t n = std::min(pair.dry.size(), pair.wet.size());
    pair.dry.resize(n);
    pair.wet.resize(n);
  }
  add_level_copies(data.pairs, config, sample_rate);
  if (config.reader == "files") {
    std::vector<Pair> pieces;
    for (const Pair& whole : data.pairs) {
      for (Pair& piece : cut(whole, config.segment_seconds, sample_rate)) pieces.push_back(std::move(piece));
    }
    data.pairs = std::move(pieces);
  }
  std::stable_sort(data.pairs.begin(), data.pairs.end(), [](const Pair& a, const Pair& b) {
    return std::tie(a.name, a.wet_path, a.copy) < std::tie(b.name, b.wet_path, b.copy);
  });
  const auto leaks = check_split(data, split_dataset(data, config));
  data.findings.insert(data.findings.end(), leaks.begin(), leaks.end());
  return data;
}

bool stops_training(const Finding& f, const DataConfig& config) {
  return f.severity == Severity::kRefuse &&
         std::find(config.allow.begin(), config.allow.end(), f.code) == config.allow.end();
}

Dataset load_dataset(const DataConfig& config, int sample_rate) {
  Dataset data = inspect_dataset(config, sample_rate);
  std::vector<const Finding*> refused;
  for (const Finding& f : data.findings) {
    if (stops_training(f, config)) refused.push_back(&f);
  }
  if (!refused.empty()) {
    const Finding& f = *refused.front();
    throw Error("{}: {} ({}); {}{}, or go on with --set data.allow={}", f.file, f.text, f.cause, f.cure,
                refused.size() > 1 ? fmt::format("; {} more like it, see 'cafx data check'", refused.size() - 1) : "",
                f.code);
  }
  return data;
}

Split split_dataset(const Dataset& data, const DataConfig& config) {
  enum { kTrain, kValidation, kTest };
  std::map<std::string, std::vector<int>> units;  // what stays together
  std::map<std::string, int> side;
  const auto starts_with_any = [](const std::string& name, const std::vector<std::string>& list) {
    return std::any_of(list.begin(), list.end(),
                       [&](const std::string& s) { return !s.empty() && name.rfind(s, 0) == 0; });
  };
  for (const auto* list : {&config.test_notes, &config.validation_notes}) {
    for (const std::string& note : *list) {
      const bool there = std::any_of(data.pairs.begin(), data.pairs.end(),
                                     [&](const Pair& p) { return starts_with_any(p.name, {note}); });
      if (!there) {
        throw Error("data.{} names '{}', but no note of the data begins so; the first is '{}'",
                    list == &config.test_notes ? "test_notes" : "validation_notes", note, data.pairs.front().name);
      }
    }
  }
  for (std::size_t i = 0; i < data.pairs.size(); ++i) {
    const Pair& p = data.pairs[i];
    const std::string unit = config.split == "instrument" ? p.group : p.name;
    units[unit].push_back(static_cast<int>(i));
    if (starts_with_any(p.name, config.test_notes))
      side[unit] = kTest;
    else if (starts_with_any(p.name, config.validation_notes) && !side.count(unit))
      side[unit] = kValidation;
  }
  std::vector<std::string> free;
  for (const auto& [unit, pairs] : units) {
    if (!side.count(unit)) free.push_back(unit);
  }
  const auto order =
      permutation(static_cast<std::uint32_t>(free.size()), {static_cast<std::uint64_t>(config.seed), 77});
  std::size_t next = 0;
  const auto draw = [&](double share, const std::vector<std::string>& listed, int to) {
    if (!listed.empty() || share <= 0.0) return;
    auto n = static_cast<std::size_t>(std::lround(share * static_cast<double>(units.size())));
    if (units.size() >= 3) n = std::max<std::size_t>(n, 1);
    for (; n > 0 && free.size() - next > 1; --n) side[free[order[next++]]] = to;
  };
  draw(config.test, config.test_notes, kTest);
  draw(config.validation, config.validation_notes, kValidation);
  Split split;
  for (const auto& [unit, pairs] : units) {
    const auto found = side.find(unit);
    auto& part = found == side.end() ? split.train : found->second == kValidation ? split.validation : split.test;
    for (const int i : pairs) {
      if (&part == &split.train || !data.pairs[static_cast<std::size_t>(i)].copy) part.push_back(i);
    }
  }
  for (auto* part : {&split.train, &split.validation, &split.test}) std::sort(part->begin(), part->end());
  if (split.train.empty()) {
    throw Error(
        "no note is left for training: {} notes, {} for validation, {} for the test; lower data.validation and "
        "data.test or name fewer notes",
        data.pairs.size(), split.validation.size(), split.test.size());
  }
  return split;
}

std::string split_json(const Dataset& data, const Split& split) {
  nlohmann::ordered_json json;
  const auto names = [&](const std::vector<int>& part) {
    auto list = nlohmann::ordered_json::array();
    for (const int i : part) {
      const Pair& p = data.pairs[static_cast<std::size_t>(i)];
      list.push_back(
          {{"note", p.name}, {"dry", p.dry_path.filename().string()}, {"wet", p.wet_path.filename().string()}});
    }
    return list;
  };
  json["train"] = names(split.train);
  json["validation"] = names(split.validation);
  json["test"] = names(split.test);
  return json.dump(2) + "\n";
}

std::string content_hash(const Dataset& data) {
  Hasher hasher;
  for (const Pair& p : data.pairs) {
    hasher.add(p.name);
    hasher.add(p.dry.data(), p.dry.size() * sizeof(float));
    hasher.add(p.wet.data(), p.wet.size() * sizeof(float));
  }
  return hasher.hex();
}

}  // namespace cafx
