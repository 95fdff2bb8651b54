#include "lib/runlog/plain_json.h"

#include <map>
#include <string>

#include "google/protobuf/timestamp.pb.h"
#include "google/protobuf/util/time_util.h"
#include "lib/base/json.h"

namespace ftd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;
using google::protobuf::Reflection;
using nlohmann::ordered_json;

ordered_json EnumName(const FieldDescriptor* field, int number) {
  const auto* value = field->enum_type()->FindValueByNumber(number);
  if (value == nullptr) return number;
  return value->name();
}

// Timestamps become text, as in protobuf's JSON; other messages stay objects.
ordered_json SubMessage(const Message& message) {
  if (message.GetDescriptor()->full_name() == "google.protobuf.Timestamp") {
    return google::protobuf::util::TimeUtil::ToString(
        dynamic_cast<const google::protobuf::Timestamp&>(message));
  }
  return ToJson(message);
}

// Returns the value of a field that is not repeated.
ordered_json Single(const Message& message, const FieldDescriptor* field) {
  const Reflection* get = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT32:
      return get->GetInt32(message, field);
    case FieldDescriptor::CPPTYPE_INT64:
      return get->GetInt64(message, field);
    case FieldDescriptor::CPPTYPE_UINT32:
      return get->GetUInt32(message, field);
    case FieldDescriptor::CPPTYPE_UINT64:
      return get->GetUInt64(message, field);
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return JsonNumber(get->GetDouble(message, field));
    case FieldDescriptor::CPPTYPE_FLOAT:
      return JsonNumber(get->GetFloat(message, field));
    case FieldDescriptor::CPPTYPE_BOOL:
      return get->GetBool(message, field);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumName(field, get->GetEnumValue(message, field));
    case FieldDescriptor::CPPTYPE_STRING:
      return get->GetString(message, field);
    case FieldDescriptor::CPPTYPE_MESSAGE:
      return SubMessage(get->GetMessage(message, field));
  }
  return nullptr;
}

// Returns one element of a repeated field; the API repeats strings, enums and messages.
ordered_json Element(const Message& message, const FieldDescriptor* field, int index) {
  const Reflection* get = message.GetReflection();
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_STRING:
      return get->GetRepeatedString(message, field, index);
    case FieldDescriptor::CPPTYPE_ENUM:
      return EnumName(field, get->GetRepeatedEnumValue(message, field, index));
    default:
      return SubMessage(get->GetRepeatedMessage(message, field, index));
  }
}

ordered_json Repeated(const Message& message, const FieldDescriptor* field) {
  const int size = message.GetReflection()->FieldSize(message, field);
  if (!field->is_map()) {
    ordered_json list = ordered_json::array();
    for (int i = 0; i < size; ++i) list.push_back(Element(message, field, i));
    return list;
  }
  // A map's hash order changes from run to run; std::map sorts the keys.
  std::map<std::string, ordered_json> sorted;
  for (int i = 0; i < size; ++i) {
    const Message& entry = message.GetReflection()->GetRepeatedMessage(message, field, i);
    const auto* type = entry.GetDescriptor();
    sorted[Single(entry, type->map_key())] = Single(entry, type->map_value());
  }
  ordered_json object = ordered_json::object();
  for (auto& [key, value] : sorted) object[key] = std::move(value);
  return object;
}

}  // namespace

// Unlike protobuf's own JSON: names in snake_case, 64-bit numbers as numbers, absent fields as
// null, so that a script can rely on the keys.
ordered_json ToJson(const Message& message) {
  const auto* type = message.GetDescriptor();
  const Reflection* get = message.GetReflection();
  ordered_json object = ordered_json::object();
  for (int i = 0; i < type->field_count(); ++i) {
    const FieldDescriptor* field = type->field(i);
    if (field->is_repeated()) {
      object[field->name()] = Repeated(message, field);
    } else if (!field->has_presence() || get->HasField(message, field)) {
      object[field->name()] = Single(message, field);
    } else if (field->real_containing_oneof() == nullptr) {
      // Not a member of a oneof: of those only the one that is set appears.
      object[field->name()] = nullptr;
    }
  }
  return object;
}

}  // namespace ftd
