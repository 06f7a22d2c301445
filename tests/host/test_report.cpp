#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <fstream>
#include <limits>
#include <set>
#include <string>
#include <vector>

#include "host/draw/page.h"
#include "host/draw/svg.h"
#include "host/draw/wav.h"
#include "host/report/knobs.h"
#include "host/report/learning.h"
#include "host/report/report.h"
#include "host/report/seeds.h"
#include "kernels/base/error.h"
#include "models/cafx/cafx.h"
#include "tests/in_browser.h"
#include "tests/models/tiny.h"
#include "tests/temporary_folder.h"

namespace cafx {
namespace {

constexpr int kSamples = 4000;

CafxConfig small() {
  CafxConfig c;
  c.frame = 64;
  c.hop = 32;
  c.filters = 6;
  c.taps = 8;
  c.local_taps = 10;
  c.pool = 4;
  c.latent = 5;
  c.dnn = {6, 5, 6};
  return c;
}

const char* const kMetrics =
    "stage,epoch,steps,learning_rate,training_mae,validation_mae,best,gradient_norm,saaf_penalty,saaf_lipschitz\n"
    "pretrain,1,146,0.0005,0.0426,,0.0426,0.02,0,0\n"
    "train,1,292,0.001,0.084,0.035,0.035,4.07,3.3e-05,1.04\n"
    "train,2,438,0.001,0.033,0.009,0.009,1.41,3.3e-05,1.11\n";

NoteResult note(const std::string& name, double level) {
  NoteResult r;
  r.note = name;
  r.seconds = kSamples / 16000.0;
  for (int i = 0; i < kSamples; ++i) {
    r.input.push_back(static_cast<float>(0.5 * level * std::sin(0.05 * i)));
    r.target.push_back(static_cast<float>(level * std::tanh(3.0 * std::sin(0.05 * i))));
    r.output.push_back(0.97f * r.target.back());
  }
  r.model = error_metrics(r.target.data(), r.output.data(), kSamples);
  r.dry = error_metrics(r.target.data(), r.input.data(), kSamples);
  return r;
}

std::string page(const std::vector<NoteResult>& notes, const std::string& metrics_csv,
                 CafxForm form = CafxForm::kSupervised) {
  CafxModel model(small(), form);
  model.initialize(3);
  Evaluation e;
  e.hop = 32;
  e.part = "test";
  e.notes = notes;
  if (!notes.empty()) e.mean = notes.front().model;
  ReportInput in;
  in.title = "run <1>";
  in.command = "cafx train --config 'a & b.toml'";
  in.config_toml = "path = \"<here>\"\n";
  in.metrics_csv = metrics_csv;
  in.result_json = "{\"esr\": 1}";
  in.model = &model;
  in.evaluation = &e;
  return report_html(in);
}

std::vector<std::string> all_of(const std::string& text, const std::string& before, char until) {
  std::vector<std::string> found;
  for (std::size_t at = text.find(before); at != std::string::npos; at = text.find(before, at)) {
    at += before.size();
    found.push_back(text.substr(at, text.find(until, at) - at));
  }
  return found;
}

long count(const std::string& text, const std::string& what) {
  long n = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + what.size())) ++n;
  return n;
}

// Empty where text is not base64.
std::string decoded(const std::string& text) {
  static const std::string digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  if (text.size() % 4 != 0) return "";
  std::string out;
  std::uint32_t bits = 0;
  int n = 0;
  for (const char c : text.substr(0, text.find('='))) {
    const std::size_t digit = digits.find(c);
    if (digit == std::string::npos) return "";
    bits = bits << 6 | static_cast<std::uint32_t>(digit);
    if ((n += 6) >= 8) out += static_cast<char>(bits >> (n -= 8) & 255);
  }
  return out;
}

std::uint32_t little(const std::string& bytes, std::size_t at, int n) {
  std::uint32_t v = 0;
  for (int i = n; i-- > 0;) v = v << 8 | static_cast<unsigned char>(bytes.at(at + static_cast<std::size_t>(i)));
  return v;
}

std::uint32_t big(const std::string& bytes, std::size_t at) {
  std::uint32_t v = 0;
  for (std::size_t i = 0; i < 4; ++i) v = v << 8 | static_cast<unsigned char>(bytes.at(at + i));
  return v;
}

// Every tag is closed in the order in which it was opened, outside the style.
void expect_balanced(const std::string& html) {
  static const std::vector<std::string> empty = {"meta", "img", "br"};
  std::vector<std::string> open;
  for (std::size_t at = html.find('<'); at != std::string::npos; at = html.find('<', at + 1)) {
    if (html[at + 1] == '!') continue;
    const bool closing = html[at + 1] == '/';
    const std::size_t name = at + 1 + closing;
    const std::string tag = html.substr(name, html.find_first_of(" />", name) - name);
    const std::size_t end = html.find('>', at);
    ASSERT_NE(end, std::string::npos);
    ASSERT_EQ(html.substr(at + 1, end - at - 1).find('<'), std::string::npos) << html.substr(at, 80);
    if (closing) {
      ASSERT_FALSE(open.empty()) << tag;
      ASSERT_EQ(open.back(), tag) << html.substr(at > 120 ? at - 120 : 0, 160);
      open.pop_back();
    } else if (html[end - 1] != '/' && std::find(empty.begin(), empty.end(), tag) == empty.end()) {
      open.push_back(tag);
    }
  }
  EXPECT_TRUE(open.empty()) << open.back();
}

// No coordinate is other than a plain number.
void expect_finite_coordinates(const std::string& html) {
  for (const char* name : {" x=\"", " y=\"", " x1=\"", " x2=\"", " y1=\"", " y2=\"", " points=\"", " height=\""}) {
    for (const std::string& value : all_of(html, name, '"')) {
      ASSERT_FALSE(value.empty()) << name;
      ASSERT_EQ(value.find_first_not_of("0123456789.,-% "), std::string::npos) << name << value.substr(0, 80);
    }
  }
}

void expect_sound(const std::string& html, std::size_t players) {
  expect_balanced(html);
  expect_finite_coordinates(html);
  const auto sounds = all_of(html, "data:audio/wav;base64,", '"');
  ASSERT_EQ(sounds.size(), players);
  for (const std::string& sound : sounds) {
    const std::string wav = decoded(sound);
    ASSERT_EQ(wav.size(), 44u + 2u * kSamples);
    EXPECT_EQ(wav.substr(0, 4), "RIFF");
    EXPECT_EQ(little(wav, 4, 4), wav.size() - 8);
    EXPECT_EQ(wav.substr(8, 8), "WAVEfmt ");
    EXPECT_EQ(little(wav, 20, 2), 1u);  // PCM
    EXPECT_EQ(little(wav, 22, 2), 1u);  // mono
    EXPECT_EQ(little(wav, 24, 4), 16000u);
    EXPECT_EQ(little(wav, 34, 2), 16u);
    EXPECT_EQ(little(wav, 40, 4), 2u * kSamples);
  }
}

TEST(Report, IsAWholePageThatLoadsNothing) {
  const std::string html = page({note("G61-55400", 0.1), note("G71-55400", 0.2)}, kMetrics);
  expect_sound(html, 8);
  for (const char* heading : {"The notes in numbers", "The notes to hear", "Waveforms", "Spectrograms",
                              "How it learned", "The learned curves", "The learned filters", "The layers"})
    EXPECT_NE(html.find(heading), std::string::npos) << heading;
  EXPECT_NE(html.find("error 30 dB below the signal"), std::string::npos);  // 0.03 squared
  EXPECT_EQ(html.find("<script"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos);
  for (const std::string& source : all_of(html, "src=\"", '"')) EXPECT_EQ(source.substr(0, 5), "data:");
  for (const std::string& source : all_of(html, "href=\"", '"')) EXPECT_EQ(source.substr(0, 5), "data:");
}

TEST(Report, EscapesWhatComesFromOutside) {
  NoteResult r = note("<script>\"&'", 0.1);
  const std::string html = page({r}, "stage,training_mae\n<b>,0.1\n<b>,0.2\n");
  expect_sound(html, 4);
  EXPECT_EQ(html.find("<script>"), std::string::npos);
  EXPECT_NE(html.find("&lt;script&gt;&quot;&amp;&#39;"), std::string::npos);
  EXPECT_NE(html.find("run &lt;1&gt;"), std::string::npos);
  EXPECT_NE(html.find("a &amp; b.toml"), std::string::npos);
  EXPECT_NE(html.find("&lt;here&gt;"), std::string::npos);
  EXPECT_NE(html.find("&lt;b&gt;"), std::string::npos);
}

TEST(Report, SilenceAndBrokenSamplesLeaveOddCoordinatesNowhere) {
  NoteResult silent = note("silent", 0.0);
  expect_sound(page({silent}, ""), 4);

  NoteResult hum = note("hum", 0.0);  // a silent target and an output that is not
  hum.output.assign(kSamples, 0.1f);
  hum.model = error_metrics(hum.target.data(), hum.output.data(), kSamples);
  EXPECT_NE(page({hum}, "").find("the target is silent, the output is not"), std::string::npos);
  expect_sound(page({hum}, ""), 4);

  NoteResult broken = note("broken", 0.1);
  broken.output[7] = std::numeric_limits<float>::quiet_NaN();
  broken.output[900] = std::numeric_limits<float>::infinity();
  broken.model = error_metrics(broken.target.data(), broken.output.data(), kSamples);
  expect_sound(page({broken}, ""), 4);

  expect_balanced(page({}, ""));
}

TEST(Report, LearningCurveSurvivesOddFiles) {
  const std::vector<NoteResult> notes = {note("a", 0.1)};
  EXPECT_NE(page(notes, kMetrics).find("How it learned"), std::string::npos);
  const std::string header = std::string(kMetrics).substr(0, std::string(kMetrics).find('\n') + 1);
  for (const std::string& empty : {std::string(), header}) {
    const std::string html = page(notes, empty);
    expect_sound(html, 4);
    EXPECT_EQ(html.find("How it learned"), std::string::npos);
  }
  expect_sound(page(notes, header + "train,1,1,0.1,nan,inf,0,0,0,0\n"), 4);
  expect_sound(page(notes, header + "train,1\n\ntrain,2,2,0.1,0.5\n"), 4);
  expect_sound(page(notes, header + "train,1,1,0.1,0,0,0,0,0,0\n"), 4);  // zero has no place on a log axis
}

TEST(Report, PretrainedFormHasNoCurves) {
  const std::string html = page({note("a", 0.1)}, "", CafxForm::kPretrain);
  expect_sound(html, 4);
  EXPECT_EQ(html.find("The learned curves"), std::string::npos);
}

TEST(Report, OneGainFitsAllPlayersOfANote) {
  NoteResult r = note("a", 0.01);
  r.input.assign(kSamples, 0.0f);
  r.input[0] = 0.02f;  // the loudest of all four
  const auto sounds = all_of(page({r}, ""), "data:audio/wav;base64,", '"');
  ASSERT_EQ(sounds.size(), 4u);
  const double gain = 0.9 / 0.02;
  const std::vector<float>* const played[] = {&r.input, &r.target, &r.output};
  for (int k = 0; k < 3; ++k) {
    const std::string wav = decoded(sounds[static_cast<std::size_t>(k)]);
    for (const std::size_t i : {0u, 31u, 500u}) {
      const auto v = static_cast<std::int16_t>(little(wav, 44 + 2 * i, 2));
      EXPECT_LE(std::abs(v - 32767.0 * gain * (*played[k])[i]), 0.6) << k << " " << i;
    }
  }
}

TEST(Report, StaysSmall) {
  std::vector<NoteResult> notes = {note("a", 0.1), note("b", 0.2)};
  for (NoteResult& r : notes) {
    for (auto* x : {&r.input, &r.target, &r.output}) {
      const std::vector<float> once = *x;
      for (int i = 1; i < 8; ++i) x->insert(x->end(), once.begin(), once.end());  // 2 s
    }
  }
  EXPECT_LT(page(notes, kMetrics).size(), 3'000'000u);
}

TEST(Spectrogram, ATonePutsItsPeakInItsBin) {
  std::vector<float> x(8000);
  for (std::size_t i = 0; i < x.size(); ++i)
    x[i] = static_cast<float>(0.5 * std::sin(2.0 * M_PI * 32.0 * static_cast<double>(i) / 512.0));
  const Spectrum s = spectrum(x);
  ASSERT_EQ(s.bins, 257);
  const auto& middle = s.columns.at(s.columns.size() / 2);
  EXPECT_EQ(std::max_element(middle.begin(), middle.end()) - middle.begin(), 32);
  EXPECT_NEAR(middle[32], 0.5 * 512.0 / 4.0, 0.05);  // amplitude times half the window's sum
  EXPECT_LT(middle[64], 1e-3);
}

TEST(Spectrogram, PictureIsAPngWithSoundChunks) {
  const std::vector<float> x(3000, 0.25f);
  const Spectrum s = spectrum(x);
  const auto pictures = all_of(spectrogram(s, 16000, s.loudest(), "t"), "data:image/png;base64,", '"');
  ASSERT_EQ(pictures.size(), 1u);
  const std::string png = decoded(pictures[0]);
  ASSERT_EQ(png.substr(0, 8), "\x89PNG\r\n\x1a\n");
  std::string kinds;
  for (std::size_t at = 8; at < png.size(); at += 12 + big(png, at)) {
    const std::string kind = png.substr(at + 4, 4);
    kinds += kind + " ";
    std::uint32_t crc = ~0u;  // bit by bit, over kind and data
    for (const char c : png.substr(at + 4, 4 + big(png, at))) {
      crc ^= static_cast<unsigned char>(c);
      for (int k = 0; k < 8; ++k) crc = crc & 1 ? crc >> 1 ^ 0xEDB88320u : crc >> 1;
    }
    EXPECT_EQ(big(png, at + 8 + big(png, at)), ~crc) << kind;
    if (kind == "IHDR") {
      EXPECT_EQ(big(png, at + 8), s.columns.size());
      EXPECT_EQ(big(png, at + 12), 257u);
    }
  }
  EXPECT_EQ(kinds, "IHDR PLTE IDAT IEND ");
}

TEST(Chart, ConstantAndHugeValuesHaveTicks) {
  for (const double v : {0.0, 1e-300, 1.0, 1e12}) {
    const std::string svg = chart({{"a", "", {1.0, 2.0}, {v, v}}}, {});
    EXPECT_GE(count(svg, "class=\"grid\""), 2) << v;
    expect_finite_coordinates(svg);
    expect_balanced(svg);
  }
  EXPECT_NE(chart({}, {}).find("Nothing to draw"), std::string::npos);
}

TEST(Chart, APointWithoutValueLeavesAGap) {
  const std::string svg = chart({{"a", "", {1, 2, 3, 4, 5}, {1, 2, std::nan(""), 2, 1}}}, {});
  EXPECT_EQ(count(svg, "<polyline"), 2);
}

TEST(Chart, APointAloneIsADot) {
  const std::string svg = chart({{"a", "", {1, 2, 3}, {1, std::nan(""), 2}}}, {});
  EXPECT_EQ(count(svg, "line dot"), 2);
  for (const std::string& points : all_of(svg, " points=\"", '"')) EXPECT_EQ(count(points, ","), 2) << points;
}

// Turned to its last position in a browser, a knob shows the last player alone; without scripts all are there.
TEST(Report, KnobsAreHeardAtTheirPositions) {
  const auto config = tiny::config("lstm+knobs");
  const auto model = make_model(*config);
  model->initialize(5);
  std::vector<float> x(4000);
  for (std::size_t i = 0; i < x.size(); ++i) x[i] = static_cast<float>(0.4 * std::sin(0.06 * static_cast<double>(i)));
  const std::string html = knobs_section(*model, "a <note>", x, 0);
  const auto players = all_of(html, "data:audio/wav;base64,", '"');
  ASSERT_EQ(players.size(), 10u);  // gain from 0 to 10, and mode a, b, c
  EXPECT_EQ(std::set(players.begin(), players.end()).size(), 10u);
  for (const char* shown : {">0 dB<", ">5 dB<", ">10 dB<", ">b<", "a &lt;note&gt;"})
    EXPECT_EQ(count(html, shown), 1) << shown;
  EXPECT_TRUE(model->position().empty());
  EXPECT_EQ(page({note("n", 0.5)}, kMetrics).find("The knobs"), std::string::npos);

  if (!has_browser()) GTEST_SKIP() << "chromium is not installed";
  const TemporaryFolder folder;
  std::ofstream(folder / "page.html") << page_head("p") << html
                                      << "<script>const s = document.querySelector('.knob input'); s.value = 6; "
                                         "s.dispatchEvent(new Event('input'));</script>"
                                      << kPageEnd;
  const std::string dom = in_browser(folder / "page.html");
  EXPECT_EQ(count(dom, "hidden=\"\""), 6 + 2) << "of gain all players but one, of mode too";
  EXPECT_EQ(count(dom, "<output>10 dB</output>"), 1);
  EXPECT_EQ(count(dom, "<output>a</output>"), 1);
}

TEST(Base64, KnownTexts) {
  EXPECT_EQ(base64(""), "");
  EXPECT_EQ(base64("f"), "Zg==");
  EXPECT_EQ(base64("fo"), "Zm8=");
  EXPECT_EQ(base64("foobar"), "Zm9vYmFy");
}

// Three seeds, one of which broke down.
TEST(SeedsReport, HasTheTableAndTheCurveOfEverySeed) {
  SeedsInput in;
  in.title = "seeds <1>";
  in.command = "cafx train --config 'a & b.toml' --seeds 3";
  in.result_json =
      R"({"seeds": [{"seed": 4, "folder": "seed-4", "result": {"validation_mae": 0.125},
                     "test": {"mean": {"esr": 0.25}}},
                    {"seed": 5, "folder": "seed-5", "error": "it <broke> down"},
                    {"seed": 6, "folder": "seed-6", "result": {"validation_mae": 0.375},
                     "test": {"mean": {"esr": 0.75}}}],
          "mean": {"validation_mae": 0.25, "test.esr": 0.5}, "interval": {"validation_mae": 1.588, "test.esr": null}})";
  in.metrics_csv = {kMetrics, "", kMetrics};
  const std::string html = seeds_html(in);
  for (const char* cells : {"<td>4</td><td>0.125</td><td>0.250</td>", "<td>6</td><td>0.375</td><td>0.750</td>",
                            "<td>5</td><td class=\"words\" colspan=\"2\">failed: it &lt;broke&gt; down</td>",
                            "<td>mean</td><td>0.250</td><td>0.500</td>",
                            "<td>95 % interval, ±</td><td>1.588</td><td>-</td>", "2 of which finished"}) {
    EXPECT_NE(html.find(cells), std::string::npos) << cells;
  }
  EXPECT_EQ(html.find("<1>"), std::string::npos);
  EXPECT_EQ(html.find("http"), std::string::npos) << "a page loads nothing from elsewhere";
  EXPECT_NE(html.find("How they learned"), std::string::npos);
  EXPECT_NE(html.find("seed 6"), std::string::npos);  // in the legend
  EXPECT_EQ(html.find("seed 5"), std::string::npos);
  EXPECT_EQ(html.find("href"), std::string::npos);
  in.links = true;
  EXPECT_NE(seeds_html(in).find("<a href=\"seed-6/\">6</a>"), std::string::npos);
  in.result_json = R"({"esr": 1})";
  EXPECT_THROW(seeds_html(in), Error);
}

TEST(Learning, IsOfTheSupervisedEpochs) {
  const SupervisedEpochs e = supervised_epochs(kMetrics);
  EXPECT_EQ(e.epoch, (std::vector<double>{1.0, 2.0}));
  EXPECT_EQ(e.training, (std::vector<double>{0.084, 0.033}));
  EXPECT_EQ(e.validation, (std::vector<double>{0.035, 0.009}));
  EXPECT_EQ(e.validation_of, "mae");
  EXPECT_TRUE(supervised_epochs("").epoch.empty());
  EXPECT_TRUE(supervised_epochs("stage,epoch\ntrain,1\n").epoch.empty());
}

}  // namespace
}  // namespace cafx
