#include "server/requests/job_metadata.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "server/attempts/latest_result.h"

namespace ftd {
namespace {

constexpr size_t kMaxAfter = 64;
constexpr size_t kMaxNameBytes = 63, kMaxLabels = 16, kMaxLabelKey = 64, kMaxLabelValue = 512;
constexpr int32_t kMaxPriority = 1000;
constexpr int64_t kMaxTimeLimit = int64_t{10} * 365 * 24 * 3600;  // more is not a limit

// A name becomes a directory's name under results/ and is typed in shells, hence so few characters.
bool IsName(const std::string& name) {
  return name.size() <= kMaxNameBytes && std::all_of(name.begin(), name.end(), [](char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-';
         });
}

}  // namespace

void CheckName(const std::string& name, std::vector<FieldViolation>& bad) {
  if (!IsName(name)) {
    bad.push_back({"name", absl::StrCat("must be at most ", kMaxNameBytes, " of a-z, 0-9 and -")});
  }
  // It would be taken for a flag.
  if (name.starts_with('-')) bad.push_back({"name", "must not begin with -"});
  if (name == kLatestResult)
    bad.push_back({"name", "must not be latest, which results/latest is named for"});
  if (name.rfind("ft-", 0) == 0) bad.push_back({"name", "must not begin with ft-, as ids do"});
}

void CheckPriority(int32_t priority, std::vector<FieldViolation>& bad) {
  if (priority >= -kMaxPriority && priority <= kMaxPriority) return;
  bad.push_back({"priority", absl::StrCat("must be -", kMaxPriority, " to ", kMaxPriority)});
}

void CheckTimeLimit(int64_t seconds, std::vector<FieldViolation>& bad) {
  if (seconds >= 0 && seconds <= kMaxTimeLimit) return;
  bad.push_back({"time_limit_seconds",
                 absl::StrCat("must be at most ", kMaxTimeLimit, ", or 0 for no limit")});
}

void CheckAfter(const std::vector<std::string>& after, std::vector<FieldViolation>& bad) {
  if (after.size() > kMaxAfter)
    bad.push_back({"after", absl::StrCat("may name at most ", kMaxAfter, " jobs")});
}

// Labels are stored with each job and copied into each answer, hence the limits.
void CheckLabels(const std::map<std::string, std::string>& labels,
                 std::vector<FieldViolation>& bad) {
  if (labels.size() > kMaxLabels) {
    bad.push_back({"labels", absl::StrCat("may be at most ", kMaxLabels)});
  }
  for (const auto& [key, value] : labels) {
    if (key.empty() || key.size() > kMaxLabelKey) {
      bad.push_back(
          {"labels", absl::StrCat("has a key that is not 1 to ", kMaxLabelKey, " bytes long")});
    }
    if (value.size() > kMaxLabelValue) {
      bad.push_back({"labels", absl::StrCat("has a value longer than ", kMaxLabelValue, " bytes")});
    }
  }
}

}  // namespace ftd
