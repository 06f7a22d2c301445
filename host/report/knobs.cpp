#include "host/report/knobs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "host/draw/page.h"
#include "host/draw/svg.h"
#include "host/render/render.h"
#include "kernels/base/knobs.h"

namespace cafx {

namespace {

constexpr const char* kKnobStyle =
    "<style>.knob{margin:1.2rem 0}.knob input{width:100%;max-width:32rem}.knob label{display:block}"
    ".knob figure{margin:.3rem 0}</style>";

// One player at a time, where the slider stands; what plays goes on from the same place.
constexpr const char* kKnobScript = R"(<script>
for (const knob of document.querySelectorAll(".knob")) {
  const slider = knob.querySelector("input"), shown = knob.querySelector("output");
  const figures = [...knob.querySelectorAll("figure")];
  let at = +slider.value;
  const turn = () => {
    const before = figures[at].querySelector("audio"), playing = !before.paused;
    at = +slider.value;
    const now = figures[at].querySelector("audio");
    figures.forEach((f, i) => f.hidden = i !== at);
    shown.textContent = figures[at].querySelector("figcaption").textContent;
    if (now === before) return;
    now.currentTime = before.currentTime;
    before.pause();
    if (playing) now.play();
  };
  slider.parentElement.hidden = false;
  slider.addEventListener("input", turn);
  turn();
}
</script>)";

std::vector<double> positions_of(const Knob& knob) {
  std::vector<double> at;
  const int n = knob.is_switch() ? static_cast<int>(knob.positions.size()) : kHeardPositions;
  for (int i = 0; i < n; ++i) {
    at.push_back(knob.is_switch() ? i : knob.lo + (knob.hi - knob.lo) * i / (n - 1));
  }
  return at;
}

}  // namespace

std::string knobs_section(Model& model, const std::string& note, const std::vector<float>& x, int hop) {
  const std::vector<Knob> knobs = parse_knobs(model.config().knobs, "model.knobs");
  if (knobs.empty() || x.empty()) return "";
  const int rate = model.geometry().sample_rate;
  const std::size_t n = std::min(x.size(), static_cast<std::size_t>(kHeardSeconds * rate));
  const std::vector<float> before = model.position();
  Context context;
  context.isa = best_isa();
  const std::vector<double> start = knobs_at_start(knobs);
  std::string html = kKnobStyle + fmt::format(
                                      "<h2>The knobs</h2><p class=\"quiet\">\u201c{}\u201d through the model, one knob "
                                      "turned and the others at their start.</p>",
                                      escape(note));
  for (std::size_t k = 0; k < knobs.size(); ++k) {
    const Knob& knob = knobs[k];
    const std::vector<double> positions = positions_of(knob);
    std::vector<std::vector<float>> outputs;
    float peak = 0.0f;
    for (const double value : positions) {
      std::vector<double> values = start;
      values[k] = value;
      model.turn_to(controls_at(knobs, values));
      outputs.push_back(render_signal(model, context, x.data(), n, hop));
      for (const float v : outputs.back()) peak = std::isfinite(v) ? std::max(peak, std::abs(v)) : peak;
    }
    std::size_t first = 0;  // the position nearest to the start
    for (std::size_t i = 1; i < positions.size(); ++i) {
      if (std::abs(positions[i] - start[k]) < std::abs(positions[first] - start[k])) first = i;
    }
    html += fmt::format(
        "<div class=\"knob\"><h3>{0}</h3><label hidden><input type=\"range\" min=\"0\" max=\"{1}\" value=\"{2}\" "
        "aria-label=\"{0}\"><output></output></label>",
        escape(knob.name), positions.size() - 1, first);
    for (std::size_t i = 0; i < positions.size(); ++i) {
      const std::string shown = knob.show(positions[i]);
      html += player_html("o", shown, knob.name + " at " + shown, outputs[i], rate, peak > 0.0f ? 0.9 / peak : 1.0);
    }
    html += "</div>";
  }
  model.turn_to(before);
  return html + kKnobScript;
}

}  // namespace cafx
