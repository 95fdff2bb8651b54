// json.dumps of Python's standard library.
#include <algorithm>
#include <cmath>

#include "absl/strings/str_format.h"
#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/compare.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

std::string NumberText(double value) {
  if (std::isnan(value)) return "NaN";
  if (std::isinf(value)) return value > 0 ? "Infinity" : "-Infinity";
  return ReprOfFloat(value);
}

class JsonWriter {
 public:
  JsonWriter(Runtime& runtime, const JsonStyle& style) : runtime_(runtime), style_(style) {}

  void Write(const Value& value, size_t level) {
    runtime_.Step();
    const size_t before = out.size();
    switch (value.kind()) {
      case Kind::kList:
      case Kind::kTuple:
        return WriteList(value.As<ListObject>(), level);
      case Kind::kDict:
        return WriteDict(value.As<DictObject>(), level);
      case Kind::kString:
        WriteText(value.AsString());
        break;
      default:
        out.append(Scalar(value));
    }
    runtime_.Allocate(out.size() - before);
  }

  std::string out;

 private:
  static std::string Scalar(const Value& value) {
    switch (value.kind()) {
      case Kind::kNone:
        return "null";
      case Kind::kBool:
        return value.AsBool() ? "true" : "false";
      case Kind::kInt:
        return std::to_string(value.AsInt());
      case Kind::kFloat:
        return NumberText(value.AsFloat());
      default:
        Fail(Concat(TypeName(value), " cannot be written as JSON"));
    }
  }

  void NewLine(size_t level) {
    if (!style_.indent) return;
    runtime_.Allocate(level * style_.indent->size());
    out.push_back('\n');
    for (size_t i = 0; i < level; ++i) out.append(*style_.indent);
  }

  void WriteList(const ListObject& list, size_t level) {
    if (list.items.empty()) return void(out.append("[]"));
    out.push_back('[');
    for (size_t i = 0; i < list.items.size(); ++i) {
      if (i > 0) out.append(style_.item_separator);
      NewLine(level + 1);
      Write(list.items[i], level + 1);
    }
    NewLine(level);
    out.push_back(']');
  }

  void WriteDict(const DictObject& dict, size_t level) {
    if (dict.items.empty()) return void(out.append("{}"));
    std::vector<const std::pair<Value, Value>*> items;
    for (const auto& item : dict.items) items.push_back(&item);
    if (style_.sort_keys) {
      std::stable_sort(items.begin(), items.end(), [&](const auto* a, const auto* b) {
        return Less(runtime_, a->first, b->first);
      });
    }
    out.push_back('{');
    for (size_t i = 0; i < items.size(); ++i) {
      if (i > 0) out.append(style_.item_separator);
      NewLine(level + 1);
      WriteKey(items[i]->first);
      out.append(style_.key_separator);
      Write(items[i]->second, level + 1);
    }
    NewLine(level);
    out.push_back('}');
  }

  void WriteKey(const Value& key) {
    if (key.Is(Kind::kString)) return WriteText(key.AsString());
    if (key.Is(Kind::kTuple) || key.Is(Kind::kUndefined))
      Fail(Concat("a key of JSON cannot be a ", TypeName(key)));
    WriteText(Scalar(key));
  }

  void WriteText(const std::string& text) {
    out.push_back('"');
    for (size_t pos = 0; pos < text.size();) {
      const size_t length = Utf8Length(static_cast<unsigned char>(text[pos]));
      if (length == 1) {
        WriteAscii(text[pos]);
      } else if (style_.ensure_ascii) {
        WriteUtf16(DecodeUtf8(text, pos));
      } else {
        out.append(text, pos, length);
      }
      pos += length;
    }
    out.push_back('"');
  }

  void WriteAscii(char c) {
    constexpr std::string_view kEscaped = "\"\\\n\r\t\f\b", kLetters = "\"\\nrtfb";
    const size_t found = kEscaped.find(c);
    if (found != std::string_view::npos) {
      out.append({'\\', kLetters[found]});
    } else if (static_cast<unsigned char>(c) < 0x20) {
      absl::StrAppendFormat(&out, "\\u%04x", static_cast<unsigned char>(c));
    } else {
      // Python's encoder leaves DEL alone unless it writes ASCII only, where its class is "!-~" and
      // space.
      c == '\x7f' && style_.ensure_ascii ? void(out.append("\\u007f")) : out.push_back(c);
    }
  }

  void WriteUtf16(uint32_t point) {
    if (point < 0x10000) {
      absl::StrAppendFormat(&out, "\\u%04x", point);
      return;
    }
    point -= 0x10000;
    absl::StrAppendFormat(&out, "\\u%04x\\u%04x", 0xD800 | (point >> 10), 0xDC00 | (point & 0x3FF));
  }

  Runtime& runtime_;
  const JsonStyle& style_;
};

}  // namespace

std::string JsonDump(Runtime& runtime, const Value& value, const JsonStyle& style) {
  JsonWriter writer(runtime, style);
  writer.Write(value, 0);
  return std::move(writer.out);
}

}  // namespace ftd::jinja
