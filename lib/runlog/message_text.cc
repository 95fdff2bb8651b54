#include "lib/runlog/message_text.h"

#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/unknown_field_set.h>

#include "lib/base/utf8.h"

namespace ftd {
namespace {

using google::protobuf::Descriptor;
using google::protobuf::FieldDescriptor;
using google::protobuf::UnknownField;
using google::protobuf::UnknownFieldSet;

// `fields` are those of a message of this type, as they came.
void RepairTexts(const Descriptor& type, UnknownFieldSet* fields) {
  for (int i = 0; i < fields->field_count(); ++i) {
    UnknownField* field = fields->mutable_field(i);
    const FieldDescriptor* known = type.FindFieldByNumber(field->number());
    if (known == nullptr || field->type() != UnknownField::TYPE_LENGTH_DELIMITED) continue;
    std::string* bytes = field->mutable_length_delimited();
    if (known->type() == FieldDescriptor::TYPE_STRING) {
      *bytes = RepairUtf8(*bytes);
    } else if (known->type() == FieldDescriptor::TYPE_MESSAGE) {
      UnknownFieldSet inner;
      if (!inner.ParseFromString(*bytes)) continue;
      RepairTexts(*known->message_type(), &inner);
      inner.SerializeToString(bytes);
    }
  }
}

}  // namespace

bool ParseRepairingText(const std::string& bytes, google::protobuf::Message* message) {
  // protobuf reports each such text on stderr.
  const google::protobuf::LogSilencer silencer;
  if (message->ParseFromString(bytes)) return true;
  UnknownFieldSet fields;
  if (!fields.ParseFromString(bytes)) return false;
  RepairTexts(*message->GetDescriptor(), &fields);
  std::string repaired;
  return fields.SerializeToString(&repaired) && message->ParseFromString(repaired);
}

}  // namespace ftd
