#include "experiments/paper/cache.h"

#include <cstring>
#include <fstream>
#include <iterator>
#include <nlohmann/json.hpp>

#include "kernels/base/error.h"
#include "kernels/base/safetensors.h"

namespace cafx {

namespace {

using Json = nlohmann::json;

// Numbers as their bytes: exact, and a tenth of the size of text.
template <class Number>
Json bytes_of(const std::vector<Number>& x) {
  std::vector<std::uint8_t> bytes(x.size() * sizeof(Number));
  if (!x.empty()) std::memcpy(bytes.data(), x.data(), bytes.size());
  return Json::binary(std::move(bytes));
}
template <class Number>
std::vector<Number> numbers_of(const Json& j) {
  const std::vector<std::uint8_t>& bytes = j.get_binary();
  if (bytes.size() % sizeof(Number) != 0) throw Error("{} bytes are no numbers", bytes.size());
  std::vector<Number> x(bytes.size() / sizeof(Number));
  if (!x.empty()) std::memcpy(x.data(), bytes.data(), bytes.size());
  return x;
}

Json json_of(const Metrics& m) {
  std::vector<double> values;
  for (const MetricName& name : kMetricNames) values.push_back(m.*name.value);
  return bytes_of(values);
}
Metrics metrics_of(const Json& j) {
  const auto values = numbers_of<double>(j);
  if (values.size() != kMetricNames.size()) throw Error("{} metrics", values.size());
  Metrics m;
  for (std::size_t i = 0; i < values.size(); ++i) m.*kMetricNames[i].value = values[i];
  return m;
}

template <class Number>
Json json_of(const std::vector<std::vector<Number>>& all) {
  Json j = Json::array();
  for (const auto& x : all) j.push_back(bytes_of(x));
  return j;
}
template <class Number>
std::vector<std::vector<Number>> lists_of(const Json& j) {
  std::vector<std::vector<Number>> all;
  for (const Json& x : j) all.push_back(numbers_of<Number>(x));
  return all;
}

Json read(const std::filesystem::path& path) {
  std::ifstream in(path, std::ios::binary);
  const std::vector<char> bytes((std::istreambuf_iterator<char>(in)), {});
  return Json::from_cbor(bytes, true, false);
}

void write(const std::filesystem::path& folder, const std::string& key, const Json& json) {
  if (folder.empty()) return;
  const std::vector<std::uint8_t> bytes = Json::to_cbor(json);
  std::error_code ignored;  // only a cache: results that cannot be stored are measured again
  std::filesystem::create_directories(folder, ignored);
  try {
    write_file_atomically(folder / (key + ".cbor"), bytes.data(), bytes.size());
  } catch (const Error&) {
  }
}

// Null if the file is missing, damaged or of another shape.
template <class Make>
auto made(const std::filesystem::path& folder, const std::string& key, Make make)
    -> std::optional<decltype(make(Json()))> {
  if (folder.empty()) return std::nullopt;
  const Json json = read(folder / (key + ".cbor"));
  if (!json.is_object()) return std::nullopt;
  try {
    return make(json);
  } catch (const Json::exception&) {
    return std::nullopt;
  } catch (const Error&) {
    return std::nullopt;
  }
}

}  // namespace

std::optional<Measured> MeasureCache::notes(const std::string& key) const {
  return made(folder_, key, [](const Json& j) {
    Measured m;
    Evaluation& e = m.evaluation;
    e.hop = j.at("hop");
    e.part = j.at("part");
    e.mean = metrics_of(j.at("mean"));
    e.spread = metrics_of(j.at("spread"));
    for (const Json& n : j.at("notes")) {
      NoteResult r;
      r.note = n.at("note");
      r.dry_file = n.at("dry_file");
      r.wet_file = n.at("wet_file");
      r.seconds = n.at("seconds");
      r.model = metrics_of(n.at("model"));
      r.dry = metrics_of(n.at("dry"));
      r.input = numbers_of<float>(n.at("input"));
      r.target = numbers_of<float>(n.at("target"));
      r.output = numbers_of<float>(n.at("output"));
      e.notes.push_back(std::move(r));
      m.baseline.push_back(metrics_of(n.at("baseline")));
    }
    m.baseline_output = lists_of<float>(j.at("baseline_output"));
    m.sample_in = numbers_of<double>(j.at("sample_in"));
    m.sample_target = numbers_of<double>(j.at("sample_target"));
    m.sample_out = numbers_of<double>(j.at("sample_out"));
    return m;
  });
}

void MeasureCache::keep(const std::string& key, const Measured& m) const {
  const Evaluation& e = m.evaluation;
  Json notes = Json::array();
  for (std::size_t i = 0; i < e.notes.size(); ++i) {
    const NoteResult& r = e.notes[i];
    notes.push_back({{"note", r.note},
                     {"dry_file", r.dry_file},
                     {"wet_file", r.wet_file},
                     {"seconds", r.seconds},
                     {"model", json_of(r.model)},
                     {"dry", json_of(r.dry)},
                     {"baseline", json_of(m.baseline[i])},
                     {"input", bytes_of(r.input)},
                     {"target", bytes_of(r.target)},
                     {"output", bytes_of(r.output)}});
  }
  write(folder_, key,
        {{"hop", e.hop},
         {"part", e.part},
         {"mean", json_of(e.mean)},
         {"spread", json_of(e.spread)},
         {"notes", notes},
         {"baseline_output", json_of(m.baseline_output)},
         {"sample_in", bytes_of(m.sample_in)},
         {"sample_target", bytes_of(m.sample_target)},
         {"sample_out", bytes_of(m.sample_out)}});
}

std::optional<DeviceTraits> MeasureCache::traits(const std::string& key) const {
  return made(folder_, key, [](const Json& j) {
    DeviceTraits t;
    for (const Json& h : j.at("harmonics")) {
      const auto values = numbers_of<double>(h);
      if (values.size() < 2) throw Error("no harmonics");
      t.harmonics.push_back({values[0], {values.begin() + 2, values.end()}, values[1]});
    }
    t.levels_db = numbers_of<double>(j.at("levels_db"));
    t.hz = numbers_of<double>(j.at("hz"));
    t.response_db = lists_of<double>(j.at("response_db"));
    t.aliasing_db = numbers_of<double>(j.at("aliasing_db"));
    t.curve_in = numbers_of<double>(j.at("curve_in"));
    t.curve_out = numbers_of<double>(j.at("curve_out"));
    return t;
  });
}

void MeasureCache::keep(const std::string& key, const DeviceTraits& t) const {
  std::vector<std::vector<double>> harmonics;
  for (const Harmonics& h : t.harmonics) {
    harmonics.push_back({h.level_db, h.thd});
    harmonics.back().insert(harmonics.back().end(), h.amplitude.begin(), h.amplitude.end());
  }
  write(folder_, key,
        {{"harmonics", json_of(harmonics)},
         {"levels_db", bytes_of(t.levels_db)},
         {"hz", bytes_of(t.hz)},
         {"response_db", json_of(t.response_db)},
         {"aliasing_db", bytes_of(t.aliasing_db)},
         {"curve_in", bytes_of(t.curve_in)},
         {"curve_out", bytes_of(t.curve_out)}});
}

}  // namespace cafx
