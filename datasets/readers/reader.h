// datasets/readers/reader.h -- finds which files are a pair. One line of reader.cpp's table for each way of naming.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "datasets/config.h"
#include "datasets/finding.h"
#include "datasets/pair.h"

namespace cafx {

// A part of two recordings, as a manifest states it.
struct Excerpt {
  double start = 0.0, stop = 0.0;  // of the dry file; negative: from its end; stop = 0: to its end
  bool in_samples = false;         // of the file; else in seconds
  double delay = 0.0;              // by which the wet file is late, in samples of the file
  double dry_gain = 1.0, wet_gain = 1.0;
  std::string told_by = {};  // file and row that state it, for error texts
};

// Files to read for one note; wet is empty where a chain makes it.
struct Source {
  std::string name, group;
  std::filesystem::path dry, wet;
  std::string setting = {};  // of the effect, as a name of the data set tells it; empty: unknown
  std::string part = {};     // as Pair::part
  std::vector<KnobValue> knobs = {};
  std::vector<float> controls = {};  // as Pair::controls
  std::optional<Excerpt> excerpt = {};
};

struct Sources {
  std::vector<Source> pairs;
  std::vector<std::string> left_out;  // a line each, with the reason
  std::vector<Finding> findings;      // about names: files of one name, settings mixed, sides swapped
};

// Recordings into pieces that count as notes; kLong: where one lasts 30 s, or 6 s of fewer than eight.
enum class Cut { kNever, kAlways, kLong };

struct Reader {
  std::string name;  // as data.reader has it
  // Error where nothing can be found at all, with what is there instead.
  std::function<Sources(const DataConfig&)> find;
  Cut cut;
  bool sync_impulses = false;  // stand at the ends of its recordings
};
const std::vector<Reader>& readers();
const Reader& find_reader(const std::string& name);

Sources find_idmt(const DataConfig&);
Sources find_folders(const DataConfig&);
Sources find_files(const DataConfig&);
Sources find_by_pattern(const DataConfig&);
Sources find_in_manifest(const DataConfig&);
Sources find_nam_json(const DataConfig&);

// What a folder or file is by its names, with the reader that takes it.
struct Recognised {
  std::string reader;
  std::size_t pairs;
  std::string path, dry, wet;  // as DataConfig has them; empty: stay as they are
};
// The table of recordings that data.path names: in a folder the file that has this name there.
std::filesystem::path table_in(const std::string& path, const char* name);
// The file that a table names, from `folder`; with / for the \ of Windows where there is none of that name.
std::optional<std::filesystem::path> file_named(const std::string& text, const std::filesystem::path& folder);
// All that it could be, most pairs first; none: no reader knows it.
std::vector<Recognised> recognise(const std::filesystem::path&);

// Audio files below `folder`, recursively, sorted by path; a file counts once, by whichever of its paths comes first in
// that order, and loops of links end. By ending: whatever libsndfile can read. Links to files that are not there are
// told; Error where there is nothing else.
std::vector<std::filesystem::path> find_audio_files(const std::filesystem::path& folder,
                                                    std::vector<Finding>* findings = nullptr);
bool is_audio_ending(const std::string& lower_case);

std::string lower_case(std::string);
// As a note's name: as it is where it is UTF-8, which JSON and TOML can hold, else with its other bytes as \xHH.
std::string note_name(const std::string&);

// Words that tell the sides apart in names, dry then wet.
const std::vector<std::pair<const char*, const char*>>& side_words();
// The name in lower case without `word`, where that is its first or last part between separators, or all of it.
std::optional<std::string> without_word(const std::string& name, const std::string& word);
// Which of two names the words for sides call the dry one: whether it is the first; nothing where they do not tell.
std::optional<bool> first_is_dry(const std::string& first, const std::string& second);
// Of three folders and more beside each other, one of them called dry: how a pattern reads the others as settings, a
// clause. Empty where they are no such folders.
std::string by_pattern(std::vector<std::filesystem::path> folders);
// Error where data.wet and data.chain are both given: one of them would be ignored.
void refuse_wet_and_chain(const DataConfig&);
// A warning where the names of two files or folders say that they were given in the other order.
void tell_swapped(const std::filesystem::path& dry, const std::filesystem::path& wet, std::vector<Finding>&);

}  // namespace cafx
