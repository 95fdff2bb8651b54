// The prompts that a model answers while it is trained: JobSpec.sample_prompts.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/error.h"
#include "nlohmann/json.hpp"

namespace ftd {

// The most prompts of a job.
inline constexpr size_t kMostSamplePrompts = 16;

// Returns whether a prompt is a JSON list of messages, for the chat template, rather than a text: a
// list whose first element is an object.
bool IsMessages(std::string_view prompt);

// Returns the prompts of a file, as a spec has them: of NAME.json a list of prompts, of NAME.jsonl
// one in each line, of any other file a text in each line that is not blank. In JSON a prompt is a
// text or a list of messages, alone or as the member `prompt` or `messages` of an object. Errors:
// ReadFile's; INVALID_ARGUMENT USAGE for what is none of that, or has none.
absl::StatusOr<std::vector<std::string>> ReadSamplePrompts(const std::filesystem::path& path);

// Reads `sample_prompts` of a JobSpec's JSON and adds what is wrong with it to `violations`.
void ReadSamplePrompts(const nlohmann::json& job_spec, std::vector<std::string>* prompts,
                       std::vector<FieldViolation>* violations);

}  // namespace ftd
