#include "datasets/dataset.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <tuple>

#include "datasets/effects.h"
#include "datasets/find/channels.h"
#include "datasets/positions.h"
#include "datasets/readers/name_pattern.h"
#include "datasets/readers/reader.h"
#include "datasets/repair/repair.h"
#include "datasets/repair/sync.h"
#include "datasets/shift.h"
#include "kernels/base/error.h"
#include "kernels/base/hash.h"
#include "kernels/base/knobs.h"
#include "kernels/base/rng.h"
#include "kernels/base/thread_pool.h"

namespace cafx {

std::string file_of(const Pair& p, bool wet) {
  const auto& path = wet ? p.wet_path : p.dry_path;
  return path.empty() ? p.name + (wet ? " (wet)" : " (dry)") : printable(path.string());
}

std::string KnobValue::show() const { return is_number() ? fmt::format("{}", number) : text; }

Pair without_audio(const Pair& whole) {
  Pair p;
  p.name = whole.name;
  p.group = whole.group;
  p.setting = whole.setting;
  p.part = whole.part;
  p.knobs = whole.knobs;
  p.controls = whole.controls;
  p.dry_path = whole.dry_path;
  p.wet_path = whole.wet_path;
  p.dry_file = whole.dry_file;
  p.wet_file = whole.wet_file;
  p.copy = whole.copy;
  p.excerpt_seconds = whole.excerpt_seconds;
  return p;
}

namespace {

namespace fs = std::filesystem;

void scale(SharedRecording& x, double gain_db, bool invert) {
  const auto gain = static_cast<float>(std::pow(10.0, gain_db / 20.0) * (invert ? -1.0 : 1.0));
  if (gain == 1.0f) return;
  for (float& v : x.edit()) v *= gain;
}

double power_without_dc(std::span<const float> x) {
  double sum = 0.0, square = 0.0;
  for (const float v : x) {
    sum += static_cast<double>(v);
    square += static_cast<double>(v) * static_cast<double>(v);
  }
  const auto n = static_cast<double>(std::max<std::size_t>(1, x.size()));
  return std::max(0.0, square / n - sum / n * (sum / n));
}

std::string codec_of(const fs::path& path) {
  const std::string ending = lower_case(path.extension().string());
  if (ending == ".mp3" || ending == ".mp2") return "MP3";
  if (ending == ".opus") return "Opus";
  if (ending == ".ogg" || ending == ".oga") return "Ogg (Vorbis or Opus)";
  return "";
}

// One side: the channel that holds the recording, at the model's rate.
Shelf::Side read_side(const fs::path& path, const DataConfig& config, bool wet, int sample_rate) {
  Shelf::Side side;
  FileFacts& facts = side.facts;
  const auto stated = stated_channel(wet ? config.wet_channel : config.dry_channel);
  Audio audio = read_audio(path, 0, stated.value_or(-1));
  facts.channel = stated.value_or(-1);
  if (audio.file_channels > 1 && !stated) {
    const ChannelScan scan = scan_channels(path);
    const ChannelChoice choice = choose_channel(scan, config, wet, printable(path.string()), side.findings);
    if (choice.chosen) {
      audio = read_audio(path, 0, choice.channel);
      facts.channel = choice.channel;
      facts.channel_why = scan.text;
    }
  }
  facts.rate = audio.file_rate;
  facts.bits = audio.file_bits;
  facts.is_float = audio.file_float;
  facts.channels = audio.file_channels;
  facts.clipping = audio.clipping;
  facts.notes = audio.notes;
  facts.codec = codec_of(path);
  facts.frames = static_cast<std::int64_t>(audio.samples.size());
  if (audio.file_rate == sample_rate) {
    side.samples = std::move(audio.samples);
    return side;
  }
  Recording x = resample(audio.samples, audio.file_rate, sample_rate);
  const double all = power_without_dc(audio.samples), kept = power_without_dc(x);
  if (audio.file_rate > sample_rate && all > 0.0) {
    facts.lost_db = 10.0 * std::log10(std::max(1e-20, 1.0 - kept / all));
  }
  side.samples = std::move(x);
  return side;
}

// The same for one of the pair, from the shelf where there is one.
void take_side(Pair& pair, bool wet, const DataConfig& config, int sample_rate, Shelf* shelf,
               std::vector<Finding>& findings) {
  const fs::path& path = wet ? pair.wet_path : pair.dry_path;
  const auto read = [&] { return read_side(path, config, wet, sample_rate); };
  Shelf::Side side =
      shelf ? shelf->side(fmt::format("{}\n{} {} {} {}", path.string(), wet, sample_rate,
                                      wet ? config.wet_channel : config.dry_channel, repairs(config, "channel")),
                          read)
            : read();
  (wet ? pair.wet : pair.dry) = std::move(side.samples);
  (wet ? pair.wet_file : pair.dry_file) = std::move(side.facts);
  findings.insert(findings.end(), side.findings.begin(), side.findings.end());
}

// Both sides between two moments of dry, wet moved by its stated delay; to the end of dry where that comes earlier.
void take_excerpt(Pair& pair, const Excerpt& e, int sample_rate, std::vector<Finding>& findings) {
  const auto length = static_cast<double>(pair.dry.size());
  const double unit = e.in_samples ? static_cast<double>(sample_rate) / pair.dry_file.rate : sample_rate;
  const auto place = [&](double at) { return std::round(at * unit + (at < 0.0 ? length : 0.0)); };
  const double start = place(e.start), asked = e.stop == 0.0 ? length : place(e.stop), stop = std::min(asked, length);
  const double delay = std::round(e.delay * sample_rate / std::max(1, pair.wet_file.rate));
  const char* of = e.in_samples ? "samples" : "s";
  if (start < 0.0) {
    throw Error("{}: start = {} {} is before the beginning of {}, which lasts {:.3f} s", e.told_by, e.start, of,
                file_of(pair, false), length / sample_rate);
  }
  if (!(stop > start && std::abs(delay) < stop - start)) {
    throw Error("{}: start = {} {}, stop = {} {} and delay = {} samples leave nothing of {}, which lasts {:.3f} s",
                e.told_by, e.start, of, e.stop, of, e.delay, file_of(pair, false), length / sample_rate);
  }
  if (asked > length) {
    findings.push_back({Severity::kWarning, "excerpt", file_of(pair, false), length / sample_rate,
                        fmt::format("ends {:.3f} s before stop = {} {}; what is there is taken",
                                    (asked - length) / sample_rate, e.stop, of),
                        fmt::format("{} asks for more than the file holds", e.told_by),
                        "state a stop within the file, or none to go to its end"});
  }
  const auto from = static_cast<std::size_t>(start), to = static_cast<std::size_t>(stop);
  const auto late = static_cast<std::size_t>(std::abs(delay));
  pair.excerpt_seconds = start / sample_rate;
  for (SharedRecording* side : {&pair.dry, &pair.wet}) {
    Recording& x = side->edit();
    x.resize(std::min(x.size(), to));
    const bool moved = late > 0 && (side == &pair.wet) == (delay > 0.0);
    x.erase(x.begin(), x.begin() + static_cast<long>(std::min(x.size(), from + (moved ? late : 0))));
  }
  const std::size_t n = std::min(pair.dry.size(), pair.wet.size());
  pair.dry.resize(n);
  pair.wet.resize(n);
  scale(pair.dry, 20.0 * std::log10(e.dry_gain), false);
  for (float& v : pair.wet.edit()) v *= static_cast<float>(e.wet_gain);
}

Pair read_pair(const Source& source, const DataConfig& config, int sample_rate, Shelf* shelf,
               std::vector<Finding>& findings) {
  Pair pair;
  pair.name = source.name;
  pair.group = source.group;
  pair.setting = source.setting;
  pair.part = source.part;
  pair.knobs = source.knobs;
  pair.controls = source.controls;
  pair.dry_path = source.dry;
  pair.wet_path = source.wet;
  take_side(pair, false, config, sample_rate, shelf, findings);
  if (config.chain.empty()) {
    take_side(pair, true, config, sample_rate, shelf, findings);
  } else {
    pair.wet = apply_chain(config.chain, pair.dry, sample_rate);
    pair.wet_file.clipping = find_clipping(pair.wet, sample_rate);
    pair.wet_file.rate = pair.dry_file.rate;
    pair.wet_file.frames = pair.dry_file.frames;
  }
  if (source.excerpt) take_excerpt(pair, *source.excerpt, sample_rate, findings);
  if (const auto ppm = stated_drift(config); ppm && *ppm != 0.0) {
    pair.wet = resample(pair.wet, 1.0 + 1e-6 * *ppm, 1.0);
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

void add_shift_copies(std::vector<Pair>& pairs, int n_copies) {
  const std::size_t n = pairs.size();
  for (int k = 1; k <= n_copies; ++k) {
    const double by = static_cast<double>(k) / (n_copies + 1);
    for (std::size_t i = 0; i < n; ++i) {
      Pair copy = without_audio(pairs[i]);
      copy.copy = true;
      copy.offset_seconds = pairs[i].offset_seconds;
      copy.dry = shifted(pairs[i].dry, by);
      copy.wet = shifted(pairs[i].wet, by);
      pairs.push_back(std::move(copy));
    }
  }
}

bool is_of_training(const Pair& p) { return p.part.empty() || p.part == "train"; }

bool gives_parts(const std::vector<Pair>& pairs, const DataConfig& config) {
  return config.given_split && std::any_of(pairs.begin(), pairs.end(), [](const Pair& p) { return !p.part.empty(); });
}

// Of a data set that gives parts: whether not all that are wanted: those have to be drawn from its training part.
bool lacks_a_part(const std::vector<Pair>& pairs, const DataConfig& config) {
  const auto gives = [&](const char* part) {
    return std::any_of(pairs.begin(), pairs.end(), [&](const Pair& p) { return p.part == part; });
  };
  return (!gives("validation") && config.validation > 0.0 && config.validation_notes.empty()) ||
         (!gives("test") && config.test > 0.0 && config.test_notes.empty());
}

// How long pieces are: as the config says, shorter where validation and test would take too large a part of them.
double piece_seconds(const std::vector<Pair>& wholes, const DataConfig& config, int sample_rate,
                     std::vector<Finding>& findings) {
  // Parts of the data set itself need no more pieces, but those that are drawn from one of them; a length that was
  // chosen stays where it leaves all three parts.
  const bool given = gives_parts(wholes, config), draws = !given || lacks_a_part(wholes, config);
  const bool chosen = config.segment_seconds != DataConfig().segment_seconds;
  const std::size_t wanted = !draws || chosen ? 3 : 8;
  constexpr double kPieces = 8.0;
  constexpr double kShortest = 0.5;
  const auto piece = static_cast<double>(config.segment_seconds * sample_rate);
  double samples = 0.0;
  std::size_t n = 0;
  for (const Pair& p : wholes) {
    if (given && draws && !is_of_training(p)) continue;
    const auto length = static_cast<double>(p.dry.size());
    samples += length;
    n += static_cast<std::size_t>(length / piece) + (std::fmod(length, piece) >= 0.25 * piece ? 1 : 0);
  }
  if (n >= wanted || (config.validation <= 0.0 && config.test <= 0.0)) return config.segment_seconds;
  const double seconds = std::max(kShortest, std::floor(100.0 * samples / sample_rate / kPieces) / 100.0);
  if (seconds >= config.segment_seconds) return config.segment_seconds;
  findings.push_back({Severity::kInfo, "split", file_of(wholes.front(), false), -1.0,
                      fmt::format("lasts {:.2f} s: pieces last {:.2f} s, since pieces of {:.2f} s would be too few to "
                                  "train, validate and test with",
                                  samples / sample_rate, seconds, config.segment_seconds),
                      "a short recording", "record some minutes; data.segment_seconds chooses"});
  return seconds;
}

// One long pair as pieces that count as notes, so that splits keep whole stretches of time together. A side of the
// whole goes once its pieces are there: hours of audio are not held twice.
std::vector<Pair> cut(Pair whole, double seconds, int sample_rate) {
  const std::size_t n = std::min(whole.dry.size(), whole.wet.size());
  const auto piece = std::max<std::size_t>(64, static_cast<std::size_t>(seconds * sample_rate));
  const std::string base = whole.name.substr(0, whole.name.rfind('@'));
  std::vector<Pair> pieces;
  for (std::size_t at = 0; at + 64 <= n; at += piece) {
    const std::size_t end = std::min(n, at + piece);
    Pair p = without_audio(whole);
    p.offset_seconds = whole.offset_seconds + static_cast<double>(at) / sample_rate;
    p.name = fmt::format("{}@{:.3f}", whole.offset_seconds > 0.0 ? base : whole.name, p.offset_seconds);
    p.group = p.name;
    p.dry = Recording(whole.dry.begin() + static_cast<long>(at), whole.dry.begin() + static_cast<long>(end));
    pieces.push_back(std::move(p));
  }
  whole.dry = {};
  for (std::size_t k = 0; k < pieces.size(); ++k) {
    const float* const first = whole.wet.begin() + k * piece;
    pieces[k].wet = Recording(first, first + pieces[k].dry.size());
  }
  return pieces;
}

void read_all(const Sources& sources, const DataConfig& config, int sample_rate, Shelf* shelf, Dataset& data) {
  const std::size_t n = sources.pairs.size();
  std::vector<Pair> pairs(n);
  std::vector<std::string> failed(n);
  std::vector<std::vector<Finding>> findings(n);
  ThreadPool pool(available_threads());
  pool.run(static_cast<int>(n), [&](int task, int) {
    const auto i = static_cast<std::size_t>(task);
    try {
      pairs[i] = read_pair(sources.pairs[i], config, sample_rate, shelf, findings[i]);
    } catch (const Error& e) {
      failed[i] = printable(e.what());
    }
  });
  for (std::size_t i = 0; i < n; ++i) {
    if (!failed[i].empty()) {
      data.unreadable.push_back(failed[i]);
      continue;
    }
    data.pairs.push_back(std::move(pairs[i]));
    data.findings.insert(data.findings.end(), findings[i].begin(), findings[i].end());
  }
  if (!data.pairs.empty()) return;
  if (!data.unreadable.empty()) throw Error("{}", data.unreadable.front());
  throw Error("no dry and wet file belong together under '{}'; {}", config.dry.empty() ? config.path : config.dry,
              data.unpaired.empty() ? "there are no audio files" : data.unpaired.front());
}

bool cuts(const Reader& reader, const std::vector<Pair>& pairs, const DataConfig& config, int sample_rate) {
  constexpr double kLong = 30.0, kLongOfFew = 6.0;  // seconds
  constexpr std::size_t kFew = 8;                   // notes, of which validation and test would take a large part
  if (reader.cut != Cut::kLong) return reader.cut == Cut::kAlways;
  const bool given = gives_parts(pairs, config);
  std::set<std::string> notes;  // that parts are drawn from
  for (const Pair& p : pairs) {
    if (!given || is_of_training(p)) notes.insert(p.name);
  }
  const bool draws = !given || lacks_a_part(pairs, config);
  const double least = (notes.size() < kFew && draws ? kLongOfFew : kLong) * sample_rate;
  return std::any_of(pairs.begin(), pairs.end(),
                     [&](const Pair& p) { return static_cast<double>(p.dry.size()) >= least; });
}

void leave_out_sync_impulses(Dataset& data) {
  for (Pair& p : data.pairs) {
    const SyncImpulses found = cut_sync_impulses(p, data.sample_rate);
    if (found.before + found.after == 0) continue;
    data.findings.push_back({Severity::kInfo, "sync", file_of(p, false), -1.0,
                             fmt::format("{} sync impulses before and {} after the music are left out, on both sides",
                                         found.before, found.after),
                             "the data set has them to be aligned by", "nothing need be done"});
  }
}

// The parts that the data set itself gives, and what became of those that it lacks. `given`: pairs of each before they
// were cut.
void tell_parts(Dataset& data, const Split& split, const DataConfig& config, std::map<std::string, int> given) {
  if (!config.given_split || (given.size() == 1 && given.count(""))) return;
  std::string text = fmt::format("has parts of its own: {} for training, {} for validation, {} for the test",
                                 given["train"] + given[""], given["validation"], given["test"]);
  if (!keeps_given_parts(data, config)) {
    text += ", which data.split = \"knobs\" does not keep, since positions lie in several of them: it draws positions";
  } else {
    const bool has_validation = !split.validation.empty(), has_test = !split.test.empty();
    for (const auto& [name, share, there] :
         {std::tuple("validation", config.validation, has_validation), std::tuple("test", config.test, has_test)}) {
      if (given[name] > 0) continue;
      text += there          ? fmt::format("; {} is drawn from training", name)
              : share <= 0.0 ? fmt::format("; data.{} is 0, so none is drawn", name)
                             : fmt::format("; training has too few notes for {} to be drawn from it", name);
    }
  }
  data.findings.push_back({Severity::kInfo, "split", printable(config.path), -1.0, std::move(text),
                           "names of folders or a column say so",
                           "nothing need be done; data.given_split = false draws parts as for any recordings"});
}

void tell_knobs(Dataset& data, const DataConfig& config) {
  const std::string where = printable(config.path);
  for (const KnobRange& k : knob_ranges(data)) {
    data.findings.push_back({Severity::kInfo, "knobs", where, -1.0, fmt::format("knob {}", k.text()),
                             "names or columns say so", "nothing need be done"});
  }
}

// Where the knobs of data.knobs stood, in every pair.
void take_controls(Sources& sources, const DataConfig& config) {
  const std::vector<Knob> knobs = parse_knobs(config.knobs, "data.knobs");
  if (knobs.empty()) return;
  for (Source& s : sources.pairs) {
    const std::string where = (s.wet.empty() ? s.dry : s.wet).string();
    std::vector<double> values;
    for (const Knob& k : knobs) {
      const auto found =
          std::find_if(s.knobs.begin(), s.knobs.end(), [&](const KnobValue& v) { return v.name == k.name; });
      if (found == s.knobs.end()) {
        std::vector<std::string> names;
        for (const KnobValue& v : s.knobs) names.push_back(v.name);
        throw Error("{}: data.reader = \"{}\" finds no position of the knob {} there; it finds {}", where,
                    config.reader, k.name, names.empty() ? "none at all" : fmt::format("{}", fmt::join(names, ", ")));
      }
      values.push_back(value_in(k, *found, where));
    }
    s.controls = controls_at(knobs, values);
  }
}

void cut_to_the_shorter(Dataset& data) {
  for (Pair& pair : data.pairs) {
    const std::size_t n = std::min(pair.dry.size(), pair.wet.size());
    pair.dry.resize(n);
    pair.wet.resize(n);
  }
  std::erase_if(data.pairs, [&](const Pair& p) {
    if (p.dry.size() >= 64) return false;
    data.unreadable.push_back(file_of(p, true) + ": nothing of it is left beside its dry file");
    return true;
  });
  if (data.pairs.empty()) throw Error("{}", data.unreadable.front());
}

}  // namespace

std::vector<KnobRange> knob_ranges(const Dataset& data) {
  std::vector<KnobRange> knobs;
  std::map<std::string, std::set<std::string>> positions;
  for (const Pair& p : data.pairs) {
    for (const KnobValue& k : p.knobs) {
      if (!positions.count(k.name)) knobs.push_back({k.name});
      positions[k.name].insert(k.show());
    }
  }
  for (KnobRange& k : knobs) {
    for (const std::string& text : positions[k.name]) {
      const auto own = measured(decimal_point(text));
      const Measured value = own.value_or(Measured());
      k.positions.push_back(text);
      if (k.unit.empty()) k.unit = value.unit;
      k.words = k.words || !own || (!value.unit.empty() && lower_case(value.unit) != lower_case(k.unit));
      k.lo = std::min(k.lo, value.number);
      k.hi = std::max(k.hi, value.number);
    }
  }
  return knobs;
}

std::string KnobRange::text() const {
  if (words) return fmt::format("{}: {}", name, fmt::join(positions, ", "));
  return fmt::format("{}: {} to {}{}{}, {} position{}", name, lo, hi, unit.empty() ? "" : " ", unit, positions.size(),
                     positions.size() == 1 ? "" : "s");
}

Dataset inspect_dataset(const DataConfig& config, int sample_rate, Shelf* shelf) {
  check(config, "config");
  Dataset data;
  data.sample_rate = sample_rate;
  const Reader& reader = find_reader(config.reader);
  Sources sources = reader.find(config);
  take_controls(sources, config);
  data.split_by_knobs = config.split == "knobs";
  data.unpaired = sources.left_out;
  data.findings = sources.findings;
  read_all(sources, config, sample_rate, shelf, data);
  for (const Pair& p : data.pairs) {
    data.wet_lost_db = std::max(data.wet_lost_db, p.wet_file.lost_db);
    data.file_rate = std::max({data.file_rate, p.dry_file.rate, p.wet_file.rate});
  }
  const Seen seen = examine(data.pairs, config, sample_rate);
  const RepairPlan plan = make_plan(data.pairs, seen, config, sample_rate);
  repair(data.pairs, plan, sample_rate);
  data.repairs = plan.repairs;
  for (const std::vector<Finding>* found : {&seen.findings, &plan.findings}) {
    data.findings.insert(data.findings.end(), found->begin(), found->end());
  }
  cut_to_the_shorter(data);
  if (reader.sync_impulses) leave_out_sync_impulses(data);
  tell_knobs(data, config);
  std::map<std::string, int> given;
  for (const Pair& p : data.pairs) ++given[p.part];
  add_level_copies(data.pairs, config, sample_rate);
  add_shift_copies(data.pairs, config.shift_copies);
  if (cuts(reader, data.pairs, config, sample_rate)) {
    const double seconds = piece_seconds(data.pairs, config, sample_rate, data.findings);
    data.n_cut = data.pairs.size();
    std::vector<Pair> pieces;
    for (Pair& whole : data.pairs) {
      for (Pair& piece : cut(std::move(whole), seconds, sample_rate)) pieces.push_back(std::move(piece));
      whole = Pair();
    }
    data.pairs = std::move(pieces);
  }
  std::stable_sort(data.pairs.begin(), data.pairs.end(), [](const Pair& a, const Pair& b) {
    return std::tie(a.name, a.wet_path, a.copy) < std::tie(b.name, b.wet_path, b.copy);
  });
  const Split split = split_dataset(data, config);
  tell_parts(data, split, config, given);
  for (const std::vector<Finding>& found : {check_split(data, split, config), check_positions(data, split, config)}) {
    data.findings.insert(data.findings.end(), found.begin(), found.end());
  }
  if (shelf) shelf->share(data);
  return data;
}

Dataset load_dataset(const DataConfig& config, int sample_rate, Shelf* shelf) {
  Dataset data = inspect_dataset(config, sample_rate, shelf);
  std::vector<const Finding*> refused;
  for (const Finding& f : data.findings) {
    if (stops_training(f, config)) refused.push_back(&f);
  }
  if (!refused.empty()) {
    const Finding& f = *refused.front();
    std::vector<std::string> codes;
    for (const Finding* other : refused) {
      if (std::find(codes.begin(), codes.end(), other->code) == codes.end()) codes.push_back(other->code);
    }
    throw Error("{}: {} ({}); {}{}, or go on with --set data.allow={}", f.file, f.text, f.cause, f.cure,
                refused.size() > 1 ? fmt::format("; {} more {}, see 'cafx data check'", refused.size() - 1,
                                                 codes.size() > 1 ? "findings" : "like it")
                                   : "",
                fmt::join(codes, ","));
  }
  return data;
}

std::string content_hash(const Dataset& data) {
  Hasher hasher;
  for (const Pair& p : data.pairs) {
    hasher.add(p.name);
    if (!p.part.empty()) hasher.add(p.part);
    for (const KnobValue& k : p.knobs) hasher.add(fmt::format("{}={}", k.name, k.show()));
    hasher.add(p.dry.data(), p.dry.size() * sizeof(float));
    hasher.add(p.wet.data(), p.wet.size() * sizeof(float));
  }
  return hasher.hex();
}

}  // namespace cafx
