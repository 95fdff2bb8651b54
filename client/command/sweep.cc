#include "client/command/sweep.h"

#include <algorithm>
#include <set>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "client/command/job_file.h"
#include "client/text/text.h"
#include "lib/base/error.h"
#include "lib/base/nearest.h"
#include "lib/runlog/message_json.h"
#include "lib/spec/job_fields.h"

namespace ftd {
namespace {

constexpr size_t kMostJobs = 256;

absl::Status BadSweep(const std::string& axis, const std::string& what) {
  return Error(Reason::kUsage, absl::StrCat("--sweep ", Printable(axis), ": ", what));
}

bool CanBeSwept(const JobField& field) {
  switch (KindOfFlag(field)) {
    case FlagKind::kInteger:
    case FlagKind::kReal:
    case FlagKind::kWord:
    case FlagKind::kSwitch:
    case FlagKind::kAutoSwitch:
      return true;
    case FlagKind::kText:
      break;
  }
  return false;
}

// "lora.rank", "lora_rank" and "lora-rank" are one field.
absl::StatusOr<const JobField*> FieldNamed(const std::string& name, const std::string& axis) {
  const JobField* field = FindField(name);
  if (field == nullptr) field = FindField(PathOfFlag(name));
  if (field == nullptr) {
    std::vector<std::string> known;
    for (const JobField& candidate : JobFields())
      if (CanBeSwept(candidate)) known.emplace_back(candidate.path);
    const std::string meant = Nearest(name, known);
    return BadSweep(axis,
                    absl::StrCat("a job has no field ", Printable(name),
                                 meant.empty() ? "" : absl::StrCat("; did you mean ", meant, "?")));
  }
  if (!CanBeSwept(*field))
    return BadSweep(axis,
                    absl::StrCat(field->path, " cannot be swept; numbers, words and switches can"));
  return field;
}

// As a job file would be read that says nothing else.
absl::StatusOr<nlohmann::json> SpecWith(const JobField& field, const std::string& value,
                                        const std::string& axis) {
  std::string yaml, indent;
  const std::vector<std::string> keys = absl::StrSplit(field.path, '.');
  for (const std::string& key : keys) {
    absl::StrAppend(&yaml, yaml.empty() ? "" : "\n", indent, key, ":");
    indent += "  ";
  }
  absl::StrAppend(&yaml, " ", nlohmann::json(value).dump());  // quoted: nothing of it is YAML
  auto file = ParseJobFile(yaml, "--sweep");
  if (!file.ok()) {
    // The file and its line are none that the user knows.
    const std::vector<std::string> parts =
        absl::StrSplit(file.status().message(), absl::MaxSplits(": ", 2));
    return BadSweep(axis, parts.back());
  }
  return std::move(file->spec);
}

absl::StatusOr<std::vector<nlohmann::json>> ReadAxis(const std::string& axis,
                                                     std::set<std::string>& seen) {
  const std::pair<std::string, std::string> parts = absl::StrSplit(axis, absl::MaxSplits('=', 1));
  if (parts.first.empty() || parts.second.empty())
    return BadSweep(axis, "needs FIELD=VALUE,VALUE…, such as learning_rate=1e-4,2e-4");
  FTD_ASSIGN_OR_RETURN(const JobField* field, FieldNamed(parts.first, axis));
  if (!seen.insert(field->path).second) return BadSweep(axis, "the field is swept twice");
  std::vector<nlohmann::json> specs;
  const std::vector<std::string> values = absl::StrSplit(parts.second, ',');
  for (const std::string& value : values) {
    if (value.empty()) return BadSweep(axis, "has an empty value");
    FTD_ASSIGN_OR_RETURN(specs.emplace_back(), SpecWith(*field, value, axis));
    if (std::count(specs.begin(), specs.end(), specs.back()) > 1)
      return BadSweep(axis, absl::StrCat("has ", Printable(value), " twice"));
  }
  return specs;
}

// The last 12 digits of a UUID are a number to which `index` is added.
std::string NthRequestId(const std::string& request_id, size_t index) {
  constexpr size_t kDigits = 12;
  uint64_t number = 0;
  if (request_id.size() < kDigits ||
      !absl::SimpleHexAtoi(request_id.substr(request_id.size() - kDigits), &number))
    return request_id;  // ftd refuses it
  constexpr uint64_t kMask = (uint64_t{1} << (4 * kDigits)) - 1;
  return request_id.substr(0, request_id.size() - kDigits) +
         absl::StrFormat("%012x", (number + index) & kMask);
}

}  // namespace

absl::StatusOr<std::vector<nlohmann::json>> ReadSweep(const std::vector<std::string>& axes) {
  std::vector<nlohmann::json> specs = {nlohmann::json::object()};
  std::set<std::string> seen;
  for (const std::string& axis : axes) {
    FTD_ASSIGN_OR_RETURN(const auto values, ReadAxis(axis, seen));
    if (specs.size() * values.size() > kMostJobs)
      return BadSweep(axis, absl::StrCat("makes more than ", kMostJobs, " jobs of the sweep"));
    std::vector<nlohmann::json> combined;
    for (const nlohmann::json& spec : specs) {
      for (const nlohmann::json& value : values) combined.emplace_back(spec).merge_patch(value);
    }
    specs = std::move(combined);
  }
  return specs;
}

absl::StatusOr<std::vector<v1::SubmitJobRequest>> SweepRequests(
    const v1::SubmitJobRequest& base, const std::vector<nlohmann::json>& specs) {
  if (base.labels().contains(kSweepLabel))
    return Error(Reason::kUsage, "the label \"sweep\" is what --sweep sets; give another one");
  const std::string name =
      base.name().empty() ? "sweep-" + base.request_id().substr(0, 8) : base.name();
  FTD_ASSIGN_OR_RETURN(const std::string common, MessageToJson(base.spec()));
  std::vector<v1::SubmitJobRequest> requests;
  for (size_t i = 0; i < specs.size(); ++i) {
    v1::SubmitJobRequest& request = requests.emplace_back(base);
    // As JSON, where also a zero that is given takes the place of what was there.
    nlohmann::json spec = nlohmann::json::parse(common);
    spec.merge_patch(specs[i]);
    const absl::Status merged =
        MessageFromJson(spec.dump(), UnknownFields::kRefused, request.mutable_spec());
    if (!merged.ok()) return Error(Reason::kUsage, std::string(merged.message()));
    request.set_name(absl::StrCat(name, "-", i + 1));
    request.set_request_id(NthRequestId(base.request_id(), i));
    (*request.mutable_labels())[kSweepLabel] = name;
  }
  return requests;
}

}  // namespace ftd
