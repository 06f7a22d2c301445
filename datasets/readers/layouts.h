// datasets/readers/layouts.h -- data sets as researchers have them on disk: one row of the table each.
#pragma once

#include <filesystem>
#include <vector>

#include "datasets/readers/reader.h"

namespace cafx {

struct Layout {
  const char* name;  // as data.reader has it
  const char* wet;   // patterns of names (name_pattern.h)
  const char* dry;   // empty: wet has a {side}
  Cut cut;
  bool sync_impulses;
  const char* about;  // what it is, one line
  // What is known to be wrong with it; null: nothing.
  void (*defects)(const std::filesystem::path& folder, std::vector<Finding>&) = nullptr;
};
const std::vector<Layout>& layouts();

Sources find_layout(const DataConfig&, const Layout&);

}  // namespace cafx
