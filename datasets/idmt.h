// datasets/idmt.h -- names of files in IDMT-SMT-Audio-Effects (Zenodo record 7544032).
//
//   ABC-DDEFF-GHHI-KKKKK.wav (monophonic), ABC-DDEEF-GHHI-KKKKK.wav (polyphonic), any case, any audio ending
//   A instrument (B bass, G guitar, P polyphonic guitar)   AB instrument and its setting   C style   DD MIDI note
//   G group   HH effect   I setting   KKKKK running id     A dry note and its wet versions share the first nine
//   characters.
#pragma once

#include <optional>
#include <string>

namespace cafx {

struct IdmtName {
  std::string note;  // first nine characters, upper case: "G61-40100"
  char instrument;   // 'B', 'G', 'P'
  int midi_note;
  int effect;         // HH: 11 none, 12 EQ, 21 .. 42
  int setting;        // I
  std::string group;  // AB: "G6"
};

// Nothing where the stem is not such a name.
std::optional<IdmtName> parse_idmt_name(const std::string& stem);

// HH of an effect's name as its folder has it ("Distortion": 41), in any case; "FxChain" is 13. Error lists the names.
int idmt_effect_code(const std::string& effect);

}  // namespace cafx
