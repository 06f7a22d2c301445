// experiments/paper/page.h -- the report of a study: a self-contained HTML page, and its tables as Markdown.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "experiments/paper/claims.h"
#include "experiments/paper/study.h"
#include "host/draw/figure.h"

namespace cafx {

struct PageInput {
  std::string title, lead;                                 // lead: one paragraph about what was run, and its limits
  std::vector<std::string> commands;                       // that reproduce the report
  std::vector<std::pair<std::string, std::string>> facts;  // version, device, data, hashes: name and value
  std::string spec;                                        // the sweep file
  const std::vector<Experiment>* experiments = nullptr;
  std::vector<Claim> claims;
  std::vector<Figure> figures;                            // of the whole study
  std::map<std::string, std::vector<Figure>> figures_of;  // by Experiment::id
  int hop = 0;
  bool apart = false;  // sounds and pictures of each experiment on a page of its own: pages/ID.html
};

// A result page of the talk: its axes, and its places in this report. The paper's captions and numbers are not
// available here, so its figures are identified by these pages.
struct ResultPage {
  std::string what, axes;
  struct Place {
    std::string name, link, file;  // link: in the page; file: beside Markdown, "figures/filters.svg"
  };
  std::vector<Place> places;  // none: not part of this run
};
std::vector<ResultPage> result_pages(const PageInput&);

// No script, nothing loaded from elsewhere; phone and desktop, light and dark.
std::string page_html(const PageInput&);
std::string experiment_html(const PageInput&, const Experiment&);
std::string tables_markdown(const PageInput&);

}  // namespace cafx
