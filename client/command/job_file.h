// A job as a file: `submit -f job.yaml`.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd {

// What a job file says. The rest is left to flags and to ftd's defaults.
struct JobFile {
  nlohmann::json spec = nlohmann::json::object();  // a JobSpec in proto3 JSON
  std::string dataset;                             // what --dataset takes
  std::optional<std::string> name;
  std::optional<int32_t> priority;
  std::map<std::string, std::string> labels;
  std::vector<std::string> after;
  std::string start_from;
  int64_t time_limit_seconds = 0;
};

// Reads YAML, of which JSON is a part: the keys of a JobSpec with `name`, `priority`, `labels`,
// `after`, `start_from` and `time_limit` beside them, or a job as `ftctl show -o yaml` prints it,
// of which all but the name is taken, and the jobs that it came after. `dataset` may be what
// --dataset takes, alone or as its key `path`. `where` names the text in messages. INVALID_ARGUMENT
// FIELD_INVALID, with the line, for a key that is not known or given twice, a value that does not
// read, and text that does not parse.
absl::StatusOr<JobFile> ParseJobFile(const std::string& text, const std::string& where);

// The same from a file; "-": from standard input. NOT_FOUND for one that is not there;
// INVALID_ARGUMENT FIELD_INVALID for more than 1 MiB.
absl::StatusOr<JobFile> ReadJobFile(const std::string& path);

// The path of the field whose flag is spelt so, with - or _: "lora_rank" is lora.rank's. Empty: no
// field's.
std::string PathOfFlag(const std::string& key);

// Lays `given`, a JobSpec in proto3 JSON, over `spec`: null takes a key away. Where another dataset
// was given, the file's is dropped; how its rows are read stays.
void Override(const nlohmann::json& given, bool dataset_given, nlohmann::json* spec);

}  // namespace ftd
