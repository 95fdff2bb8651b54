#include "lib/spec/dataset_spec.h"

#include <algorithm>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/base/field_reader.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/chat/template_source.h"
#include "lib/data/dataset_files.h"
#include "lib/spec/repo_name.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

// Reads an enum whose value 0 is "not given" and whose others have `words`.
template <typename Enum>
void ReadWord(FieldReader& fields, const char* field, absl::Span<const char* const> words,
              Enum* value) {
  std::string given;
  fields.String(field, &given);
  if (given.empty() || absl::EndsWith(given, "_UNSPECIFIED")) return;
  const auto* const found = std::find_if(words.begin(), words.end(),
                                         [&](const char* word) { return EnumWord(word) == given; });
  if (found == words.end())
    return fields.Violate(field, Concat("must be ", Choices(words), "; got ", given));
  *value = static_cast<Enum>(found - words.begin() + 1);
}

// Returns the name on the wire; null for "not given".
template <typename Enum>
Json WordJson(absl::Span<const char* const> words, Enum value) {
  const auto index = static_cast<size_t>(value);
  return index == 0 ? Json(nullptr) : Json(EnumWord(words[index - 1]));
}

bool IsSha256(const std::string& text) {
  return text.size() == 64 && std::all_of(text.begin(), text.end(), [](char c) {
           return absl::ascii_isdigit(static_cast<unsigned char>(c)) || (c >= 'a' && c <= 'f');
         });
}

// Reads the list of files that a resolved spec, or an upload of several files, has.
void ReadFiles(const Json& dataset, FieldReader& fields, DatasetSpec* out,
               std::vector<FieldViolation>* violations) {
  if (!fields.Has("files")) return;
  if (!dataset["files"].is_array()) return fields.Violate("files", "must be a list");
  for (const Json& entry : dataset["files"]) {
    if (!entry.is_object()) return fields.Violate("files", "must be a list of objects");
    DatasetFile file;
    FieldReader reader(entry, "dataset.files.", violations);
    reader.String("sha256", &file.sha256);
    reader.String("name", &file.name);
    reader.String("server_path", &file.server_path);
    if (!IsSha256(file.sha256))
      return reader.Violate("sha256", "must be 64 lower-case hexadecimal digits");
    out->files.push_back(std::move(file));
  }
}

// Then the default dataset is meant.
bool HasNoSource(const DatasetSpec& spec) {
  return spec.upload_sha256.empty() && spec.server_path.empty() && spec.hub.name.empty() &&
         spec.files.empty();
}

// {"instruction": "question", …}: from fields of a shape to columns of the data.
void ReadColumns(const Json& dataset, FieldReader& fields, DatasetSpec* out) {
  if (!fields.Has("columns")) return;
  if (!dataset["columns"].is_object()) return fields.Violate("columns", "must be an object");
  for (const auto& [field, column] : dataset["columns"].items()) {
    if (!column.is_string()) return fields.Violate("columns", "must map names to names");
    out->rules.columns[field] = column.get<std::string>();
  }
}

// The revision is a branch or tag at submit, and a commit in a resolved spec.
void ReadHub(const Json& dataset, FieldReader& fields, DatasetSpec* out,
             std::vector<FieldViolation>* violations) {
  if (!fields.Has("hub")) return;
  if (!dataset["hub"].is_object()) return fields.Violate("hub", "must be an object");
  FieldReader reader(dataset["hub"], "dataset.hub.", violations);
  reader.String("name", &out->hub.name);
  reader.String("revision", &out->hub.revision);
  reader.String("config", &out->hub.config);
  reader.String("split", &out->hub.split);
  if (out->hub.split.empty()) out->hub.split = "train";
  if (!hub::IsRepoName(out->hub.name)) reader.Violate("name", "must be OWNER/NAME on the hub");
}

// Judges the source: at most one, and without any the default. An upload's name must have the
// extension of a format that is read; files on the server are judged when they have been found.
void JudgeSource(const DatasetSpec& spec, FieldReader& fields) {
  const bool uploads = spec.server_path.empty() && spec.hub.name.empty() && !spec.files.empty();
  if (!spec.upload_sha256.empty() && !IsSha256(spec.upload_sha256)) {
    fields.Violate("upload_sha256", "must be 64 lower-case hexadecimal digits");
  } else if (!spec.upload_sha256.empty() && uploads) {
    fields.Violate("files", "is for several files; give dataset.upload_sha256 or these");
  }
  if (!spec.server_path.empty() || !spec.hub.name.empty()) return;
  for (const DatasetFile& file : FilesOf(spec)) {
    const auto format = FormatOfName(file.name);
    if (format.ok()) continue;
    return fields.Violate(uploads ? "files" : "file_name",
                          Concat("is refused: ", std::string(format.status().message())));
  }
}

}  // namespace

void ReadDatasetSpec(const Json& dataset, DatasetSpec* out,
                     std::vector<FieldViolation>* violations) {
  FieldReader fields(dataset, "dataset.", violations);
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  fields.String("upload_sha256", &out->upload_sha256);
  fields.String("server_path", &out->server_path);
  fields.String("file_name", &out->file_name);
  fields.String("sha256", &out->sha256);
  fields.Integer("size", 0, kMost, &out->size);
  ReadFiles(dataset, fields, out, violations);
  ReadHub(dataset, fields, out, violations);
  // The default dataset, its size and its order are those of NVIDIA's scripts, so that a run
  // without any choice is comparable with theirs.
  if (HasNoSource(*out)) {
    out->hub = {kDefaultDataset, "", "", "train"};
    if (!fields.Has("size")) out->size = kDefaultDatasetSize;
    out->shuffle_seed = kScriptShuffleSeed;
  }
  ReadWord(fields, "shape", kRowShapeWords, &out->rules.shape);
  ReadColumns(dataset, fields, out);
  fields.String("template", &out->rules.prompt_template);
  ReadWord(fields, "train_on", kTrainOnWords, &out->rules.train_on);
  fields.String("chat_template", &out->rules.chat.chat_template);
  fields.String("chat_template_date", &out->rules.chat.chat_template_date);
  fields.Integer("skip_bad_rows", 0, kMost, &out->skip_bad_rows);
  if (fields.Has("shuffle_seed"))
    fields.Integer("shuffle_seed", 0, kMost, &out->shuffle_seed.emplace());
  JudgeSource(*out, fields);
  for (const FieldViolation& bad : JudgeRowRules(out->rules))
    violations->push_back({"dataset." + bad.field, bad.description});
}

// Writes only the source that is set, and every other field, defaults included.
nlohmann::ordered_json DatasetSpecToJson(const DatasetSpec& spec) {
  nlohmann::ordered_json files = nlohmann::ordered_json::array();
  for (const DatasetFile& file : spec.files) {
    files.push_back(
        {{"sha256", file.sha256}, {"name", file.name}, {"server_path", file.server_path}});
  }
  nlohmann::ordered_json json = {{"file_name", spec.file_name},
                                 {"size", spec.size},
                                 {"sha256", spec.sha256},
                                 {"files", files},
                                 {"shape", WordJson(kRowShapeWords, spec.rules.shape)},
                                 {"columns", spec.rules.columns},
                                 {"template", spec.rules.prompt_template},
                                 {"train_on", WordJson(kTrainOnWords, spec.rules.train_on)},
                                 {"chat_template", spec.rules.chat.chat_template},
                                 {"chat_template_date", spec.rules.chat.chat_template_date},
                                 {"skip_bad_rows", spec.skip_bad_rows}};
  if (spec.shuffle_seed.has_value()) json["shuffle_seed"] = *spec.shuffle_seed;
  if (!spec.upload_sha256.empty()) {
    json["upload_sha256"] = spec.upload_sha256;
  } else if (!spec.server_path.empty()) {
    json["server_path"] = spec.server_path;
  } else if (!spec.hub.name.empty()) {
    json["hub"] = {{"name", spec.hub.name},
                   {"revision", spec.hub.revision},
                   {"config", spec.hub.config},
                   {"split", spec.hub.split}};
  }
  return json;
}

// "a, b or c"
std::string Choices(absl::Span<const char* const> words) {
  return absl::StrCat(absl::StrJoin(words.subspan(0, words.size() - 1), ", "), " or ",
                      words.back());
}

std::string EnumWord(std::string_view word) {
  std::string name = absl::AsciiStrToUpper(std::string(word));
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// "output=answer,input=context"
absl::StatusOr<std::map<std::string, std::string>> ParseColumnMap(std::string_view text) {
  std::map<std::string, std::string> columns;
  while (!text.empty()) {
    const std::string_view pair = text.substr(0, text.find(','));
    text.remove_prefix(std::min(pair.size() + 1, text.size()));
    const size_t equals = pair.find('=');
    if (equals == 0 || equals == std::string_view::npos || equals + 1 == pair.size()) {
      return Error(Reason::kUsage, Concat("columns needs FIELD=COLUMN,…; got '", pair, "'"));
    }
    columns[std::string(pair.substr(0, equals))] = std::string(pair.substr(equals + 1));
  }
  return columns;
}

absl::StatusOr<std::string> ChatTemplateMeant(const std::string& name_or_file) {
  if (name_or_file.empty() || !chat::BuiltIn(name_or_file).empty()) return name_or_file;
  return ReadFile(name_or_file);
}

// A shell makes it hard to type a line break, so the two characters \n stand for one.
std::string UnescapedTemplate(std::string_view text) {
  std::string plain;
  for (size_t i = 0; i < text.size(); ++i) {
    const char next = text[i] == '\\' && i + 1 < text.size() ? text[i + 1] : '\0';
    if (next == 'n' || next == 't' || next == '\\') {
      plain.push_back(next == 'n' ? '\n' : next == 't' ? '\t' : '\\');
      ++i;
    } else {
      plain.push_back(text[i]);
    }
  }
  return plain;
}

std::vector<DatasetFile> FilesOf(const DatasetSpec& spec) {
  if (spec.upload_sha256.empty()) return spec.files;
  return {{spec.upload_sha256, spec.file_name, ""}};
}

// For a single file it is the file's own hash, which a user can check with sha256sum.
std::string DatasetSha256(const std::vector<DatasetFile>& files) {
  if (files.size() == 1) return files[0].sha256;
  Sha256 hash;
  for (const DatasetFile& file : files) hash.Update(file.sha256 + "\n");
  return hash.HexDigest();
}

}  // namespace ftd
