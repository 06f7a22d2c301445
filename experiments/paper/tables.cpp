#include "experiments/paper/tables.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <set>

#include "experiments/paper/claims.h"
#include "host/draw/svg.h"

namespace cafx {

namespace {

using Which = std::function<const OnNotes*(const StudyRun&)>;

const OnNotes* cross_of(const StudyRun& r) { return r.cross ? &*r.cross : nullptr; }
Which unheard_of(const std::string& instrument) {
  return [instrument](const StudyRun& r) {
    const auto found = r.unheard.find(instrument);
    return found == r.unheard.end() ? nullptr : &found->second;
  };
}

bool has(const Experiment& x, const Which& which) {
  return std::any_of(x.runs.begin(), x.runs.end(), [&](const StudyRun& r) { return which(r) != nullptr; });
}

double esr(const Experiment& x, const Which& which, Metrics OnNotes::*whose = &OnNotes::model) {
  return mean_over(x, which, &Metrics::esr, whose);
}

std::string own_esr(const Experiment& x) {
  return number_text(x.own_mean().esr) + " \u00b1" + number_text(x.own_spread().esr);
}

std::string name_of(const Experiment& x) {
  return x.title() + " \u00b7 " + x.preset + (x.variant.empty() ? "" : " \u00b7 " + x.variant);
}

// Each model against the goal, the authors' own clips, and what the device's noise leaves; where its frames are known.
Table goal_table(const std::vector<Experiment>& all) {
  Table t{
      "goals",
      "Against the goals and the authors' own clips",
      "Mean ESR on the test notes and half the width of its interval of 95 % over seeds; the goal; the authors' own "
      "clips (other recordings, 24 kbit/s); the least that noise in the recordings leaves a model, from second takes "
      "(--takes; the circuits of make_notes.py and FxChain have no noise). Errors of level in dB, their goal is 1.",
      {"model", "ESR", "\u00b1, 95 %", "seeds", "goal", "reached", "published", "noise leaves", "attack, dB",
       "release, dB", "thousand frames heard"},
      {}};
  for (const Experiment* x : main_experiments(all)) {
    const Published* p = published(x->effect);
    const double frames = x->runs[0].frames, own = x->own_mean().esr;
    if (!p || frames <= 0.0) continue;
    t.rows.push_back({name_of(*x), number_text(own), number_text(x->interval(&Metrics::esr)),
                      std::to_string(x->runs.size()), number_text(p->goal), own <= p->goal ? "yes" : "no", p->esr,
                      number_text(x->runs[0].best), number_text(x->own_mean().attack_db),
                      number_text(x->own_mean().decay_db), fmt::format("{:.0f}", frames / 1e3)});
  }
  return t;
}

Table cross_table(const std::vector<Experiment>& all) {
  Table t{"cross",
          "From one instrument to the other",
          "ESR on the test notes of the instrument that the model was trained on, and of the other one, which it never "
          "heard; the baseline is fitted to the instrument trained on.",
          {"trained on", "its own", "the other", "the other: baseline fitted here", "the other: dry",
           "attack on the other, dB", "decay on the other, dB"},
          {}};
  for (const Experiment* x : main_experiments(all)) {
    if (!has(*x, cross_of)) continue;
    t.rows.push_back({name_of(*x), number_text(x->own_mean().esr), number_text(esr(*x, cross_of)),
                      number_text(esr(*x, cross_of, &OnNotes::baseline)), number_text(esr(*x, cross_of, &OnNotes::dry)),
                      number_text(mean_over(*x, cross_of, &Metrics::attack_db, &OnNotes::model)),
                      number_text(mean_over(*x, cross_of, &Metrics::decay_db, &OnNotes::model))});
  }
  return t;
}

// The experiment with the same effect, preset and variant, but another instrument or split; null: none.
const Experiment* beside(const std::vector<Experiment>& all, const Experiment& x, const std::string& instrument,
                         const std::string& split) {
  for (const Experiment& y : all) {
    if (y.effect == x.effect && y.preset == x.preset && y.variant == x.variant && y.instrument == instrument &&
        y.split == split)
      return &y;
  }
  return nullptr;
}

Table both_table(const std::vector<Experiment>& all) {
  Table t{
      "both",
      "One model for guitar and bass",
      "ESR of the model of both on its test notes of each instrument, beside that of the models of one instrument on "
      "theirs, and on the other one. The test notes are drawn for each data set by itself, so they are not the same.",
      {"effect", "both, on guitar", "guitar alone", "bass alone, on guitar", "both, on bass", "bass alone",
       "guitar alone, on bass"},
      {}};
  for (const Experiment& x : all) {
    if (x.instrument != "guitar and bass") continue;
    const auto part = [](const char* name) {
      return [name](const StudyRun& r) {
        const auto found = r.parts.find(name);
        return found == r.parts.end() ? nullptr : &found->second;
      };
    };
    const Experiment *guitar = beside(all, x, "guitar", x.split), *bass = beside(all, x, "bass", x.split);
    const auto own = [](const Experiment* y) { return number_text(y ? y->own_mean().esr : std::nan("")); };
    const auto cross = [](const Experiment* y) { return number_text(y ? esr(*y, cross_of) : std::nan("")); };
    t.rows.push_back({x.effect + " \u00b7 " + x.preset + (x.variant.empty() ? "" : " \u00b7 " + x.variant),
                      number_text(esr(x, part("guitar"))), own(guitar), cross(bass), number_text(esr(x, part("bass"))),
                      own(bass), cross(guitar)});
  }
  return t;
}

Table split_table(const std::vector<Experiment>& all) {
  Table t{
      "split",
      "Random split against split by instrument",
      "ESR on the test notes. In a random split the frets of one recorded instrument stand on both sides of it; in a "
      "split by instrument the test is an instrument and pickup that the model never heard. Times: how much larger the "
      "error is there.",
      {"model", "random split", "split by instrument", "times", "dry, random", "dry, by instrument"},
      {}};
  for (const Experiment& x : all) {
    if (x.split != "note") continue;
    const Experiment* y = beside(all, x, x.instrument, "instrument");
    if (!y) continue;
    t.rows.push_back({name_of(x), own_esr(x), own_esr(*y),
                      fmt::format("{:.1f}", y->own_mean().esr / std::max(1e-12, x.own_mean().esr)),
                      number_text(x.mean(&StudyRun::dry).esr), number_text(y->mean(&StudyRun::dry).esr)});
  }
  return t;
}

Table unheard_table(const std::vector<Experiment>& all) {
  std::set<std::string> names;
  for (const Experiment& x : all) {
    for (const StudyRun& r : x.runs) {
      for (const auto& [name, on] : r.unheard) names.insert(name);
    }
  }
  Table t{
      "unheard",
      "Instruments never heard",
      "ESR of models of FxChain on notes of instruments that neither they nor their baselines were trained on: model / "
      "baseline / dry signal. The authors' own clips of this test lie between 0.11 and 1.82.",
      {"trained on", "its own instrument"},
      {}};
  for (const std::string& n : names) t.head.push_back(n);
  for (const Experiment* x : main_experiments(all)) {
    std::vector<std::string> row{name_of(*x), number_text(x->own_mean().esr)};
    bool any = false;
    for (const std::string& n : names) {
      const Which which = unheard_of(n);
      any = any || has(*x, which);
      row.push_back(number_text(esr(*x, which)) + " / " + number_text(esr(*x, which, &OnNotes::baseline)) + " / " +
                    number_text(esr(*x, which, &OnNotes::dry)));
    }
    if (any) t.rows.push_back(row);
  }
  return t;
}

// Each effect and instrument with the presets side by side.
Table preset_table(const std::vector<Experiment>& all) {
  Table t{
      "presets",
      "The presets side by side",
      "The same notes kept for the test. Mean over test notes and seeds, and over how many seeds; the preset with the "
      "smaller ESR is named where they differ by more than a tenth.",
      {"effect and instrument"},
      {}};
  std::vector<std::string> presets;
  const auto main = main_experiments(all);
  for (const Experiment* x : main) {
    if (std::find(presets.begin(), presets.end(), x->preset) == presets.end()) presets.push_back(x->preset);
  }
  std::sort(presets.begin(), presets.end());
  struct Column {
    const char* name;
    double Metrics::*value;
  };
  constexpr Column kColumns[] = {{"ESR", &Metrics::esr},
                                 {"MAE", &Metrics::mae},
                                 {"MFCC cosine", &Metrics::mfcc_cosine},
                                 {"MR-STFT", &Metrics::mr_stft},
                                 {"attack, dB", &Metrics::attack_db},
                                 {"decay, dB", &Metrics::decay_db}};
  for (const Column& c : kColumns) {
    for (const std::string& p : presets) t.head.push_back(std::string(c.name) + ": " + p);
  }
  for (const std::string& p : presets) t.head.push_back("seeds: " + p);
  t.head.insert(t.head.end(), {"better by ESR", "ESR: fitted baseline", "ESR: dry"});
  std::set<std::string> done;
  for (const Experiment* x : main) {
    if (!done.insert(x->title()).second) continue;
    std::vector<const Experiment*> row(presets.size(), nullptr);
    for (const Experiment* y : main) {
      if (y->title() != x->title() || y->variant != x->variant) continue;
      row[static_cast<std::size_t>(std::find(presets.begin(), presets.end(), y->preset) - presets.begin())] = y;
    }
    if (presets.size() < 2 || std::count(row.begin(), row.end(), nullptr) > 0) continue;
    std::vector<std::string> cells{x->title()};
    for (const Column& c : kColumns) {
      for (const Experiment* y : row) cells.push_back(number_text(y->own_mean().*c.value));
    }
    for (const Experiment* y : row) cells.push_back(std::to_string(y->runs.size()));
    const auto best = std::min_element(row.begin(), row.end(), [](const Experiment* a, const Experiment* b) {
      return a->own_mean().esr < b->own_mean().esr;
    });
    double second = HUGE_VAL;
    for (auto other = row.begin(); other != row.end(); ++other) {
      if (other != best) second = std::min(second, (*other)->own_mean().esr);
    }
    cells.push_back(second > 1.1 * (*best)->own_mean().esr ? (*best)->preset : "within a tenth");
    cells.push_back(number_text(x->mean(&StudyRun::baseline).esr));
    cells.push_back(number_text(x->mean(&StudyRun::dry).esr));
    t.rows.push_back(std::move(cells));
  }
  return t;
}

// One table for each preset whose settings were varied.
std::vector<Table> ablation_tables(const std::vector<Experiment>& all) {
  std::map<std::string, std::vector<const Experiment*>> of;  // by preset
  for (const Experiment& x : all) of[x.preset].push_back(&x);
  std::vector<Table> tables;
  for (const auto& [preset, list] : of) {
    Table t{"ablation-" + preset,
            "What each part is for, preset " + preset,
            "ESR on the test notes, mean and standard deviation over seeds (over notes where there is one seed), one "
            "change at a "
            "time from what most runs have; better by, in dB: than that with the same seeds, positive is better. "
            "Beside it the ESR on the other instrument and, for FxChain, the mean over the "
            "instruments never heard.",
            {"effect and change", "ESR", "better by, dB", "the other instrument", "instruments never heard"},
            {}};
    std::set<std::string> done;
    for (const Experiment* x : list) {
      const std::string task = x->title();
      if (!done.insert(task).second) continue;
      std::vector<const Experiment*> same;
      const Experiment* usual = nullptr;
      for (const Experiment* y : list) {
        if (y->title() != task) continue;
        if (y->variant.empty()) usual = y;
        same.push_back(y);
      }
      if (same.size() < 2) continue;
      std::stable_sort(same.begin(), same.end(), [](const Experiment* a, const Experiment* b) {
        return a->variant.empty() > b->variant.empty();
      });
      for (const Experiment* y : same) {
        double unheard = 0.0;
        int n = 0;
        std::set<std::string> names;
        for (const StudyRun& r : y->runs) {
          for (const auto& [name, on] : r.unheard) names.insert(name);
        }
        for (const std::string& name : names) {
          unheard += esr(*y, unheard_of(name));
          ++n;
        }
        // Compared with the usual settings at the same seeds, so that a lucky seed is on both sides.
        double same_seeds = 0.0;
        int n_same = 0;
        for (const StudyRun& r : usual ? usual->runs : std::vector<StudyRun>()) {
          const bool both = std::any_of(y->runs.begin(), y->runs.end(), [&](const StudyRun& other) {
            return other.config.train.seed == r.config.train.seed;
          });
          if (!both) continue;
          same_seeds += r.own.mean.esr;
          ++n_same;
        }
        const bool compared = usual && usual != y && n_same > 0;
        const double gain = compared ? below_db(y->own_mean().esr) - below_db(same_seeds / n_same) : 0.0;
        t.rows.push_back({y == usual ? task + ": as most runs" : "\u2003" + y->variant, own_esr(*y),
                          compared ? fmt::format("{:+.1f}", gain) : "", number_text(esr(*y, cross_of)),
                          number_text(n > 0 ? unheard / n : std::nan(""))});
      }
    }
    if (!t.rows.empty()) tables.push_back(t);
  }
  return tables;
}

}  // namespace

std::string number_text(double v) {
  if (std::isnan(v)) return "\u2013";
  if (std::isinf(v)) return v < 0 ? "-\u221e" : "\u221e";
  if (v == 0.0) return "0";
  const double a = std::abs(v);
  if (a < 1e-4 || a >= 1e4) return fmt::format("{:.1e}", v);
  return fmt::format("{:.{}f}", v, a < 0.01 ? 5 : a < 0.1 ? 4 : a < 10.0 ? 3 : 1);
}

double below_db(double esr) { return esr > 0.0 ? -10.0 * std::log10(esr) : 99.0; }

std::vector<Table> comparison_tables(const std::vector<Experiment>& all) {
  std::vector<Table> tables{goal_table(all), preset_table(all), cross_table(all),
                            both_table(all), split_table(all),  unheard_table(all)};
  for (Table& t : ablation_tables(all)) tables.push_back(std::move(t));
  std::erase_if(tables, [](const Table& t) { return t.rows.empty(); });
  return tables;
}

std::string to_html(const Table& t) {
  std::string html =
      fmt::format("<h3 class=\"table\" id=\"{}\">{}</h3><p class=\"quiet\">{}</p><div class=\"scroll\"><table><tr>",
                  t.id, escape(t.title), escape(t.caption));
  for (const std::string& h : t.head) html += "<th>" + escape(h) + "</th>";
  html += "</tr>";
  for (const auto& row : t.rows) {
    html += "<tr>";
    for (const std::string& cell : row) html += "<td>" + escape(cell) + "</td>";
    html += "</tr>";
  }
  return html + "</table></div>";
}

std::string to_markdown(const Table& t) {
  std::string md = fmt::format("\n## {}\n\n{}\n\n|", t.title, t.caption), rule = "|";
  for (const std::string& h : t.head) {
    md += " " + h + " |";
    rule += " --- |";
  }
  md += "\n" + rule + "\n";
  for (const auto& row : t.rows) {
    md += "|";
    for (const std::string& cell : row) md += " " + cell + " |";
    md += "\n";
  }
  return md;
}

}  // namespace cafx
