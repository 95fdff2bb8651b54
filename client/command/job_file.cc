#include "client/command/job_file.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <functional>
#include <iterator>
#include <set>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "client/command/yaml_json.h"
#include "client/text/text.h"
#include "ftd/v1/job.pb.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/nearest.h"
#include "lib/base/utf8.h"
#include "lib/spec/job_fields.h"
#include "yaml-cpp/yaml.h"

namespace ftd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::EnumValueDescriptor;
using google::protobuf::FieldDescriptor;
using nlohmann::json;

constexpr size_t kMostBytes = 1 << 20;
// What aliases make of that.
constexpr size_t kMostValueBytes = 8 * kMostBytes;

// What a JobSpec's keys may have beside them.
constexpr const char* kOfTheJob[] = {"name",  "priority",   "labels",
                                     "after", "start_from", "time_limit"};
// Where a dataset's rows come from.
constexpr const char* kSources[] = {"upload_sha256", "server_path", "hub", "files"};

// Caught in ParseJobFile, as YAML's own exceptions are.
[[noreturn]] void Complain(const YAML::Node& node, const std::string& what) {
  throw YAML::Exception(node.Mark(), what);
}

// A path as messages have it: "lora.rank".
std::string Below(const std::string& path, const std::string& key) {
  return path.empty() ? key : absl::StrCat(path, ".", key);
}

// One walk over a document, by the messages that it describes.
class Reader {
 public:
  // The keys of `message`, and `extra`, which are passed over.
  json Message(const YAML::Node& node, const Descriptor& message, const std::string& path,
               const std::vector<std::string>& extra);
  std::string Text(const YAML::Node& node, const std::string& path);
  int32_t Int32(const YAML::Node& node, const std::string& path);
  int64_t Time(const YAML::Node& node, const std::string& path);
  std::vector<std::string> List(const YAML::Node& node, const std::string& path);
  std::map<std::string, std::string> Texts(const YAML::Node& node, const std::string& path);

 private:
  json Value(const YAML::Node& node, const FieldDescriptor& field, const std::string& path);
  json Scalar(const YAML::Node& node, const FieldDescriptor& field, const std::string& path);
  json EnumValue(const YAML::Node& node, const FieldDescriptor& field, const std::string& path);
  json Switch(const YAML::Node& node, const std::string& path);

  size_t bytes_ = 0;
};

[[noreturn]] void ComplainOfKey(const YAML::Node& key, const Descriptor& message,
                                const std::string& path, const std::vector<std::string>& extra) {
  const std::string& name = key.Scalar();
  std::string meant = PathOfFlag(name);
  if (meant.empty()) {
    std::vector<std::string> known = extra;
    for (int i = 0; i < message.field_count(); ++i) known.emplace_back(message.field(i)->name());
    meant = Nearest(name, known);
    if (!meant.empty()) meant = Below(path, meant);
  }
  Complain(key, absl::StrCat("unknown key '", Printable(Below(path, name)), "'",
                             meant.empty() ? "" : absl::StrCat("; did you mean ", meant, "?")));
}

// Calls `take(key, value)` for each, and refuses anything but a mapping, and a key given twice.
void ForEachKey(const YAML::Node& node, const std::string& path,
                const std::function<void(const YAML::Node&, const YAML::Node&)>& take) {
  if (!node.IsMap())
    Complain(node, absl::StrCat(path.empty() ? "a job file" : path, " must be keys and values"));
  std::set<std::string> seen;
  for (const auto& entry : node) {
    const YAML::Node key = entry.first, value = entry.second;
    if (!key.IsScalar()) Complain(key, "a key must be a text");
    if (!seen.insert(key.Scalar()).second)
      Complain(key, absl::StrCat("'", Printable(Below(path, key.Scalar())), "' is given twice"));
    take(key, value);
  }
}

json Reader::Message(const YAML::Node& node, const Descriptor& message, const std::string& path,
                     const std::vector<std::string>& extra) {
  json values = json::object();
  ForEachKey(node, path, [&](const YAML::Node& key, const YAML::Node& value) {
    const std::string& name = key.Scalar();
    if (std::find(extra.begin(), extra.end(), name) != extra.end()) return;
    const FieldDescriptor* field = message.FindFieldByName(name);
    if (field == nullptr) ComplainOfKey(key, message, path, extra);
    if (value.IsNull()) return;
    const JobField* known = FindField(Below(path, name));
    if (known != nullptr && value.IsScalar() && MeansAuto(*known, value.Scalar())) {
      values[known->automatic] = true;
      return;
    }
    if (json made = Value(value, *field, Below(path, name)); !made.is_null())
      values[name] = std::move(made);
  });
  return values;
}

json Reader::Value(const YAML::Node& node, const FieldDescriptor& field, const std::string& path) {
  if (field.is_map()) return Texts(node, path);
  if (!field.is_repeated()) {
    if (field.message_type() == nullptr) return Scalar(node, field, path);
    return Message(node, *field.message_type(), path, {});
  }
  json list = json::array();
  const auto add = [&](const YAML::Node& item) {
    // A list of messages is a prompt too: as a text, which the field is.
    if (path == "sample_prompts" && item.IsSequence()) return list.push_back(JsonOf(item).dump());
    list.push_back(field.message_type() == nullptr
                       ? Scalar(item, field, path)
                       : Message(item, *field.message_type(), path, {}));
  };
  if (node.IsSequence()) {
    for (const YAML::Node& item : node) add(item);
  } else {
    add(node);
  }
  return list;
}

std::string Reader::Text(const YAML::Node& node, const std::string& path) {
  if (!node.IsScalar()) Complain(node, absl::StrCat(path, " must be one value"));
  bytes_ += node.Scalar().size();
  if (bytes_ > kMostValueBytes) Complain(node, "the aliases make too much of this file");
  return node.Scalar();
}

std::map<std::string, std::string> Reader::Texts(const YAML::Node& node, const std::string& path) {
  std::map<std::string, std::string> texts;
  ForEachKey(node, path, [&](const YAML::Node& key, const YAML::Node& value) {
    texts[key.Scalar()] = Text(value, Below(path, key.Scalar()));
  });
  return texts;
}

int64_t Reader::Time(const YAML::Node& node, const std::string& path) {
  const auto seconds = ParseDuration(Text(node, path));
  if (!seconds.has_value())
    Complain(node, absl::StrCat(path, " must be a time with its units, such as 90m or 1d12h"));
  return *seconds;
}

// One is a list too.
std::vector<std::string> Reader::List(const YAML::Node& node, const std::string& path) {
  if (!node.IsSequence()) return {Text(node, path)};
  std::vector<std::string> list;
  for (const YAML::Node& item : node) list.push_back(Text(item, path));
  return list;
}

int32_t Reader::Int32(const YAML::Node& node, const std::string& path) {
  int32_t number = 0;
  const std::string text = Text(node, path);
  if (!absl::SimpleAtoi(text, &number))
    Complain(node, absl::StrCat(path, " needs a whole number; got '", Printable(text), "'"));
  return number;
}

// As YAML 1.2 has them, and the words of flags. null: "auto", where a switch has three values.
json Reader::Switch(const YAML::Node& node, const std::string& path) {
  const std::string text = Text(node, path), word = absl::AsciiStrToLower(text);
  const JobField* field = FindField(path);
  const bool automatic = field != nullptr && KindOfFlag(*field) == FlagKind::kAutoSwitch;
  if (word == "true" || word == "on") return true;
  if (word == "false" || word == "off") return false;
  if (automatic && word == field->words.words[0]) return nullptr;
  Complain(node, absl::StrCat(path, " needs true or false", automatic ? ", or auto" : "", "; got '",
                              Printable(text), "'"));
}

// The words of flags, in any case. The value 0 means "not given".
json Reader::EnumValue(const YAML::Node& node, const FieldDescriptor& field,
                       const std::string& path) {
  const std::string text = Text(node, path);
  const JobField* known = FindField(path);
  const std::string word = known == nullptr ? text : WordMeant(*known, text);
  const std::string name = absl::StrReplaceAll(absl::AsciiStrToUpper(word), {{"-", "_"}});
  const EnumValueDescriptor* value = field.enum_type()->FindValueByName(name);
  if (value != nullptr) return value->number() == 0 ? json(nullptr) : json(name);
  std::vector<std::string> words;
  for (int i = 0; i < field.enum_type()->value_count(); ++i) {
    const EnumValueDescriptor* one = field.enum_type()->value(i);
    if (one->number() != 0) words.push_back(absl::AsciiStrToLower(one->name()));
  }
  Complain(node, absl::StrCat(path, " must be one of ", absl::StrJoin(words, ", "), "; got '",
                              Printable(text), "'"));
}

// Numbers that are out of a field's range are ftd's to refuse, with all others that are wrong.
json Reader::Scalar(const YAML::Node& node, const FieldDescriptor& field, const std::string& path) {
  switch (field.cpp_type()) {
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumValue(node, field, path);
    case FieldDescriptor::CPPTYPE_BOOL:
      return Switch(node, path);
    case FieldDescriptor::CPPTYPE_INT32:
      return Int32(node, path);
    case FieldDescriptor::CPPTYPE_INT64: {
      int64_t number = 0;
      const std::string text = Text(node, path);
      if (absl::SimpleAtoi(text, &number)) return number;
      Complain(node, absl::StrCat(path, " needs a whole number; got '", Printable(text), "'"));
    }
    case FieldDescriptor::CPPTYPE_DOUBLE: {
      double number = 0;
      const std::string text = Text(node, path);
      if (absl::SimpleAtod(text, &number) && std::isfinite(number)) return number;
      Complain(node, absl::StrCat(path, " needs a number; got '", Printable(text), "'"));
    }
    default:
      return Text(node, path);
  }
}

// A job as ftd prints it: what is only ftd's to say is passed over, but for what no job has.
YAML::Node SpecOfJob(const YAML::Node& document) {
  const Descriptor& job = *ftd::v1::Job::descriptor();
  ForEachKey(document, "", [&](const YAML::Node& key, const YAML::Node&) {
    if (job.FindFieldByName(key.Scalar()) != nullptr) return;
    if (ftd::v1::JobSpec::descriptor()->FindFieldByName(key.Scalar()) != nullptr)
      Complain(key, absl::StrCat("'", key.Scalar(), "' belongs below spec"));
    ComplainOfKey(key, job, "", {});
  });
  return document["spec"];
}

// `dataset: rows.jsonl`, or keys of which `path` is the file's alone.
void ReadDataset(const YAML::Node& node, Reader& reader, JobFile* file) {
  if (node.IsNull()) return;
  if (node.IsScalar()) {
    file->dataset = reader.Text(node, "dataset");
    return;
  }
  json dataset = reader.Message(node, *ftd::v1::Dataset::descriptor(), "dataset", {"path"});
  if (const YAML::Node path = node["path"]; path.IsDefined() && !path.IsNull()) {
    file->dataset = reader.Text(path, "dataset.path");
    for (const char* source : kSources) {
      if (!dataset.contains(source)) continue;
      Complain(node, absl::StrCat("dataset.path and dataset.", source, " contradict each other"));
    }
  }
  file->spec["dataset"] = std::move(dataset);
}

// The spec of a job that began with a result names that result; a checkpoint it does not.
void ReadLinksOfJob(const YAML::Node& job, Reader& reader, JobFile* file) {
  if (const YAML::Node start_from = job["start_from"]; start_from.IsDefined()) {
    const std::string text = reader.Text(start_from, "start_from");
    if (text.find('@') != std::string::npos) file->start_from = text;
  }
  if (const YAML::Node limit = job["time_limit_seconds"]; limit.IsDefined()) {
    const std::string text = reader.Text(limit, "time_limit_seconds");
    if (!absl::SimpleAtoi(text, &file->time_limit_seconds))
      Complain(limit, "time_limit_seconds must be a whole number");
  }
}

JobFile ReadDocument(const YAML::Node& document) {
  JobFile file;
  Reader reader;
  if (!document.IsMap()) Complain(document, "a job file must be keys and values");
  const bool is_job = document["spec"].IsDefined();
  const YAML::Node spec = is_job ? SpecOfJob(document) : document;
  std::vector<std::string> elsewhere = {"dataset"};
  if (!is_job) elsewhere.insert(elsewhere.end(), std::begin(kOfTheJob), std::end(kOfTheJob));
  file.spec = reader.Message(spec, *ftd::v1::JobSpec::descriptor(), "", elsewhere);
  if (const YAML::Node dataset = spec["dataset"]; dataset.IsDefined())
    ReadDataset(dataset, reader, &file);
  const auto given = [&](const char* key) {
    const YAML::Node node = document[key];
    return node.IsDefined() && !node.IsNull() ? node : YAML::Node(YAML::NodeType::Undefined);
  };
  // A name is one job's.
  if (const YAML::Node name = given("name"); name.IsDefined() && !is_job)
    file.name = reader.Text(name, "name");
  if (const YAML::Node priority = given("priority"); priority.IsDefined())
    file.priority = reader.Int32(priority, "priority");
  if (const YAML::Node labels = given("labels"); labels.IsDefined())
    file.labels = reader.Texts(labels, "labels");
  if (is_job) {
    ReadLinksOfJob(document, reader, &file);
    return file;
  }
  if (const YAML::Node after = given("after"); after.IsDefined())
    file.after = reader.List(after, "after");
  if (const YAML::Node start_from = given("start_from"); start_from.IsDefined())
    file.start_from = reader.Text(start_from, "start_from");
  if (const YAML::Node limit = given("time_limit"); limit.IsDefined())
    file.time_limit_seconds = reader.Time(limit, "time_limit");
  return file;
}

absl::Status BadJobFile(const std::string& where, const std::string& what) {
  return Error(Reason::kFieldInvalid, absl::StrCat(where, ": ", what));
}

}  // namespace

std::string PathOfFlag(const std::string& key) {
  const std::string flag = absl::StrReplaceAll(key, {{"_", "-"}});
  for (const JobField& field : JobFields()) {
    if (field.flag == nullptr) continue;
    std::vector<std::string> names = {field.flag};
    if (field.aliases != nullptr) {
      for (const absl::string_view alias : absl::StrSplit(field.aliases, ','))
        names.emplace_back(alias);
    }
    if (std::find(names.begin(), names.end(), flag) != names.end()) return field.path;
  }
  return "";
}

absl::StatusOr<JobFile> ParseJobFile(const std::string& text, const std::string& where) {
  if (text.size() > kMostBytes)
    return BadJobFile(where, "larger than 1 MiB, the limit of a job file");
  if (!IsValidUtf8(text)) return BadJobFile(where, "not UTF-8");
  try {
    const std::vector<YAML::Node> documents = YAML::LoadAll(text);
    if (documents.size() > 1) return BadJobFile(where, "more than one document; a file is one job");
    if (documents.empty() || documents[0].IsNull())
      return BadJobFile(where, "the file says nothing");
    return ReadDocument(documents[0]);
  } catch (const YAML::ParserException& error) {
    return BadJobFile(where, absl::StrCat("line ", error.mark.line + 1, ": not YAML: ", error.msg));
  } catch (const YAML::Exception& error) {
    if (error.mark.is_null()) return BadJobFile(where, error.msg);
    return BadJobFile(where, absl::StrCat("line ", error.mark.line + 1, ": ", error.msg));
  }
}

// Read up to the limit, for a device has no end.
absl::StatusOr<JobFile> ReadJobFile(const std::string& path) {
  Fd file;
  if (path != "-") {
    FTD_ASSIGN_OR_RETURN(file, OpenFile(path, O_RDONLY));
  }
  const std::string where = path == "-" ? "standard input" : Printable(path);
  std::string text(kMostBytes + 1, '\0');
  size_t size = 0;
  while (size < text.size()) {
    const ssize_t n =
        ::read(path == "-" ? STDIN_FILENO : file.get(), text.data() + size, text.size() - size);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return BadJobFile(where, std::strerror(errno));
    if (n == 0) break;
    size += static_cast<size_t>(n);
  }
  text.resize(size);
  return ParseJobFile(text, where);
}

void Override(const json& given, bool dataset_given, json* spec) {
  if (spec->contains("dataset")) {
    json& dataset = spec->at("dataset");
    if (dataset_given) {
      for (const char* source : kSources) dataset.erase(source);
      for (const char* of_source : {"file_name", "sha256"}) dataset.erase(of_source);
    }
    // Columns are one value, though JSON has them as an object.
    if (given.contains("dataset") && given.at("dataset").contains("columns"))
      dataset.erase("columns");
  }
  // The size of a micro-batch is one value too, in rows or in tokens.
  const bool in_rows = given.contains("batch_size") || given.value("auto_batch_size", false);
  if (in_rows) spec->erase("batch_tokens");
  if (given.contains("batch_tokens")) {
    spec->erase("batch_size");
    spec->erase("auto_batch_size");
  }
  spec->merge_patch(given);
}

}  // namespace ftd
