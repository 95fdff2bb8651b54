#include "server/requests/spec_limits.h"

#include <string>

#include "absl/strings/str_cat.h"

namespace ftd {
namespace {

using google::protobuf::FieldDescriptor;
using google::protobuf::Message;

constexpr size_t kMaxText = 4096;  // PATH_MAX: the longest that means anything
constexpr size_t kMaxTemplate = 64 << 10, kMaxList = 64 << 10;

size_t LimitOf(const std::string& path) {
  return path == "dataset.template" || path == "dataset.chat_template" ? kMaxTemplate : kMaxText;
}

// Of a list's texts, or of its messages as they are sent; a map is a list of messages.
size_t ListBytes(const Message& message, const FieldDescriptor& field) {
  const auto& reflection = *message.GetReflection();
  size_t bytes = 0;
  for (int i = 0; i < reflection.FieldSize(message, &field); ++i) {
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_STRING)
      bytes += reflection.GetRepeatedString(message, &field, i).size();
    if (field.cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE)
      bytes += reflection.GetRepeatedMessage(message, &field, i).ByteSizeLong();
  }
  return bytes;
}

void Check(const std::string& path, size_t bytes, size_t limit, std::vector<FieldViolation>& bad) {
  if (bytes <= limit) return;
  bad.push_back({path, absl::StrCat("may have at most ", limit, " bytes; got ", bytes)});
}

// `prefix` is the path of the message within the spec, with a dot at its end.
void CheckTexts(const Message& message, const std::string& prefix,
                std::vector<FieldViolation>& bad) {
  const auto& reflection = *message.GetReflection();
  std::vector<const FieldDescriptor*> fields;
  reflection.ListFields(message, &fields);
  for (const FieldDescriptor* field : fields) {
    const std::string path = prefix + field->name();
    const bool nested = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    if (path == "dataset.files") {
      for (int i = 0; i < reflection.FieldSize(message, field); ++i)
        CheckTexts(reflection.GetRepeatedMessage(message, field, i), path + ".", bad);
    } else if (field->is_repeated()) {
      Check(path, ListBytes(message, *field), kMaxList, bad);
    } else if (nested) {
      CheckTexts(reflection.GetMessage(message, field), path + ".", bad);
    } else if (field->cpp_type() == FieldDescriptor::CPPTYPE_STRING) {
      Check(path, reflection.GetString(message, field).size(), LimitOf(path), bad);
    }
  }
}

}  // namespace

void CheckSpecSizes(const v1::JobSpec& spec, std::vector<FieldViolation>& bad) {
  CheckTexts(spec, "", bad);
}

}  // namespace ftd
