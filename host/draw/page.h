// host/draw/page.h -- shared parts of every HTML page of cafx: head, style (light and dark, phone, desktop, print),
// players. A page loads nothing from elsewhere.
#pragma once

#include <string>
#include <vector>

namespace cafx {

// For a <style> element. Colours are the custom properties --bg, --card, --ink, --soft, --rule, --a to --d.
const char* page_style();

// From the doctype to the opening <main>, to be closed by kPageEnd. `style` is added to page_style(); `wide` suits
// tables.
std::string page_head(const std::string& title, const std::string& style = "", bool wide = false);
inline constexpr const char* kPageEnd = "</main></body></html>\n";

// A figure of class `css` with a caption and an audio player; `about` tells a screen reader whose sound it is.
std::string player_html(const std::string& css, const std::string& caption, const std::string& about,
                        const std::vector<float>& x, int sample_rate, double gain);

}  // namespace cafx
