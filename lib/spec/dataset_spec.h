// The dataset of a job's spec: ftd.v1.Dataset, whose meanings are in proto/ftd/v1/job.proto.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lib/base/error.h"
#include "lib/data/row_rules.h"
#include "nlohmann/json.hpp"

namespace ftd {

struct DatasetFile {
  std::string sha256;
  std::string name;
  std::string server_path;  // empty for an upload
};

struct HubDataset {
  std::string name;  // empty: the rows are not from the hub
  std::string revision;
  std::string config;
  std::string split;
};

struct DatasetSpec {
  std::string upload_sha256;  // of these three at most one is set
  std::string server_path;
  HubDataset hub;
  std::string file_name;
  std::string sha256;
  int64_t size = 0;
  std::vector<DatasetFile> files;
  RowRules rules;
  int64_t skip_bad_rows = 0;
  std::optional<int64_t> shuffle_seed;
};

// The dataset when none is named, as in NVIDIA's scripts.
inline constexpr char kDefaultDataset[] = "tatsu-lab/alpaca";
inline constexpr int64_t kDefaultDatasetSize = 512;
inline constexpr int64_t kScriptShuffleSeed = 42;

// Reads the JSON of a Dataset and adds what is wrong with it to `violations`, under "dataset.".
void ReadDatasetSpec(const nlohmann::json& dataset, DatasetSpec* out,
                     std::vector<FieldViolation>* violations);

// Its JSON with every field set; ReadDatasetSpec of it gives the same.
nlohmann::ordered_json DatasetSpecToJson(const DatasetSpec& spec);

// The words for the values of RowShape and TrainOn, from the value 1 on: 0 is "not given".
inline constexpr const char* kRowShapeWords[] = {"alpaca", "text", "prompt-completion", "messages",
                                                 "sharegpt"};
inline constexpr const char* kTrainOnWords[] = {"all", "completions", "assistant", "last"};

// "alpaca, text or prompt-completion".
std::string Choices(absl::Span<const char* const> words);
// The words that people write for some of its fields on a command line. "hf-parity" → "HF_PARITY".
std::string EnumWord(std::string_view word);
// "instruction=question,output=answer". INVALID_ARGUMENT USAGE for anything else; empty gives none.
absl::StatusOr<std::map<std::string, std::string>> ParseColumnMap(std::string_view text);
// A shell hands "\n" over as two characters: \n, \t and \\ become newline, tab and backslash.
std::string UnescapedTemplate(std::string_view text);

// The chat template that a command line means: the name of a built-in one, or a file's text.
// Errors: ReadFile's.
absl::StatusOr<std::string> ChatTemplateMeant(const std::string& name_or_file);

// The files in the order of their rows, however the spec names them.
std::vector<DatasetFile> FilesOf(const DatasetSpec& spec);

// The sha256 of the files' bytes: the one file's, or, of several, that of their hashes, each with a
// newline.
std::string DatasetSha256(const std::vector<DatasetFile>& files);

}  // namespace ftd
