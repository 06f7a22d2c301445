// host/draw/style.h -- how every page of cafx looks: light and dark, phone and desktop, print.
#pragma once

namespace cafx {

// For a <style> element. Colours are the custom properties --bg, --card, --ink, --soft, --rule, --a to --d.
const char* page_style();

}  // namespace cafx
