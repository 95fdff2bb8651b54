// samples.jsonl: what a model answered to the spec's sample_prompts while it was trained. A line
// for each answer: ftd.v1.GeneratedSample under the names of its fields.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

inline constexpr char kSamplesFile[] = "samples.jsonl";

std::string SamplesJsonl(const std::vector<v1::GeneratedSample>& samples);

// Reads the samples that a checkpoint stands on; none where it has no such file. DATA_LOSS
// CHECKPOINT_CORRUPT.
absl::StatusOr<std::vector<v1::GeneratedSample>> ReadSamples(const std::filesystem::path& path);

// Returns a sample on one line, for a log: texts in quotes, and no control character.
std::string SampleLine(const v1::GeneratedSample& sample);

}  // namespace ftd
