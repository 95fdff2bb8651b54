#include "server/jobs/json.h"

#include <google/protobuf/struct.pb.h>

#include "lib/runlog/message_json.h"
#include "server/host/log.h"

namespace ftd {
namespace {

using google::protobuf::Struct;

constexpr char kNone[] = "{}";

std::string Print(const Struct& object, JsonStyle style) {
  // Fails for NaN and for strings that are not UTF-8; messages of the API hold neither.
  const auto json = MessageToJson(object, style);
  if (!json.ok()) LogError("cannot write JSON: ", json.status().message());
  return json.value_or("");
}

}  // namespace

std::string StringsToJson(const std::map<std::string, std::string>& strings) {
  if (strings.empty()) return kNone;
  Struct object;
  for (const auto& [key, value] : strings) (*object.mutable_fields())[key].set_string_value(value);
  return Print(object, JsonStyle::kCompact);
}

// Empty for text that is not an object: labels are not worth losing a job over.
std::map<std::string, std::string> StringsFromJson(const std::string& json) {
  std::map<std::string, std::string> strings;
  if (json == kNone) return strings;  // nearly always, and parsing takes its time
  Struct object;
  if (!MessageFromJson(json, UnknownFields::kRefused, &object).ok()) return strings;
  for (const auto& [key, value] : object.fields()) {
    if (value.kind_case() == google::protobuf::Value::kStringValue) {
      strings[key] = value.string_value();
    }
  }
  return strings;
}

// addresses.json, which scripts and tests read to find a daemon that chose its own ports.
std::string AddressesToJson(const std::vector<std::string>& listen, const std::string& metrics,
                            int64_t pid) {
  Struct object;
  auto& fields = *object.mutable_fields();
  for (const std::string& address : listen) {
    fields["listen"].mutable_list_value()->add_values()->set_string_value(address);
  }
  fields["metrics"].set_string_value(metrics);
  fields["pid"].set_number_value(static_cast<double>(pid));
  return Print(object, JsonStyle::kIndented);
}

}  // namespace ftd
