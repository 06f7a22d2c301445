// datasets/split.h -- which notes train, validate and test.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "datasets/config.h"
#include "datasets/finding.h"

namespace cafx {

struct Dataset;
struct Pair;

struct Split {
  std::vector<int> train, validation, test;  // indices in pairs, ascending
};

// Parts that the data set gives itself (Pair::part) stay where keeps_given_parts says so; one that it lacks is drawn
// from its training part.
// Whole notes, never frames: every setting of a note is on one side. By `split` = "instrument", whole groups; by
// "knobs", whole positions of data.knobs, so that a model is judged where it never was. Lists of
// notes in the config go first (a note of exactly that name, else all whose names begin so); the rest is drawn with the
// seed, at least one note each where there are three or more. What cannot judge (can_judge) is drawn only where there
// is nothing else. Copies at other levels stand in training alone.
Split split_dataset(const Dataset&, const DataConfig&);
// Unless data.given_split is false; by "knobs" where no position lies in two of them.
bool keeps_given_parts(const Dataset&, const DataConfig&);
// Names and files of each part, and which notes were not drawn since they cannot judge.
std::string split_json(const Dataset&, const Split&);
// The entries of one part of such a text ("train", "validation", "test"), none where it is no such text; and the one
// that a pair has there.
std::set<std::string> listed_in(const std::string& split_json, const std::string& part);
std::string listed_as(const Pair&);

// Whether an error measured on the note says anything: it lasts a quarter of the median note, and its loudest sample on
// either side is less than 60 dB under the loudest of all.
bool can_judge(const Dataset&, int pair);

// Why the part's error is no result, a clause; empty where it is one: there is no such part, it is silent or shorter
// than half a second, or most of it is in training too, under another name, at another level or as a turn of a loop.
struct Judgement {
  std::string validation, test;
};
Judgement judge_split(const Dataset&, const Split&);

// The loudest sample of the training part's dry notes, of full scale.
double training_peak(const Dataset&, const Split&);

// Whether anything of the training part is as loud as `silence_db` (of full scale), under which training leaves frames
// out: refused, with the gain that mends it, where nothing is.
std::vector<Finding> check_loudness(const Dataset&, const Split&, double silence_db);

// The same audio or note on both sides (refused where the samples are equal), prefixes that take several notes, parts
// that cannot judge.
std::vector<Finding> check_split(const Dataset&, const Split&, const DataConfig&);

}  // namespace cafx
