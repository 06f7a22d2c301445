// host/train/checkpoint_files.h -- the last checkpoint of a run, and the one before it.
//
//   checkpoint.safetensors            the last
//   checkpoint.previous.safetensors   the one before, until the run is finished: where the last is damaged, the run
//                                     goes on from here, to the same bits
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace cafx {

inline constexpr const char* kCheckpointFile = "checkpoint.safetensors";
inline constexpr const char* kPreviousCheckpointFile = "checkpoint.previous.safetensors";

// write(path) writes the new checkpoint beside the last, which becomes the previous once the new one is complete; the
// new one takes its place then. The last is there and whole at every moment. No hard links: no previous is kept.
void replace_checkpoint(const std::filesystem::path& run,
                        const std::function<void(const std::filesystem::path&)>& write);
void drop_previous_checkpoint(const std::filesystem::path& run);

// Calls read(path) with the last checkpoint or, where that throws an Error, with the previous one, put in the last
// one's place, and says so. Where both fail: an Error that names what is wrong with the last, and the way out.
void read_last_whole_checkpoint(const std::filesystem::path& run,
                                const std::function<void(const std::filesystem::path&)>& read,
                                const std::function<void(const std::string&)>& say);

}  // namespace cafx
