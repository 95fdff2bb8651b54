#include "lib/jinja/text.h"

#include <charconv>
#include <cmath>

#include "absl/strings/str_format.h"
#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/functions.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/program.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/unicode.h"

namespace ftd::jinja {
namespace {

void AppendRepr(Runtime& runtime, const Value& value, std::string* out);

// A value that is shared often writes its text again and again, so the work counts as it is done.
void AppendItems(Runtime& runtime, const std::vector<Value>& items, std::string* out) {
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out->append(", ");
    AppendRepr(runtime, items[i], out);
  }
}

void AppendDict(Runtime& runtime, const DictObject& dict, std::string* out) {
  out->push_back('{');
  for (size_t i = 0; i < dict.items.size(); ++i) {
    if (i > 0) out->append(", ");
    AppendRepr(runtime, dict.items[i].first, out);
    out->append(": ");
    AppendRepr(runtime, dict.items[i].second, out);
  }
  out->push_back('}');
}

void AppendView(Runtime& runtime, const ViewObject& view, std::string* out) {
  constexpr std::string_view kNames[] = {"dict_keys", "dict_values", "dict_items"};
  out->append(kNames[static_cast<size_t>(view.part)]).append("([");
  bool first = true;
  for (const auto& [key, value] : view.dict.As<DictObject>().items) {
    if (!std::exchange(first, false)) out->append(", ");
    if (view.part == ViewObject::Part::kItems) out->push_back('(');
    if (view.part != ViewObject::Part::kValues) AppendRepr(runtime, key, out);
    if (view.part == ViewObject::Part::kItems) out->append(", ");
    if (view.part != ViewObject::Part::kKeys) AppendRepr(runtime, value, out);
    if (view.part == ViewObject::Part::kItems) out->push_back(')');
  }
  out->append("])");
}

void AppendNamespace(Runtime& runtime, const NamespaceObject& names, std::string* out) {
  const Runtime::Level level(runtime);  // it may hold itself
  out->append("<Namespace {");
  for (size_t i = 0; i < names.items.size(); ++i) {
    if (i > 0) out->append(", ");
    out->append(ReprOfText(names.items[i].first)).append(": ");
    AppendRepr(runtime, names.items[i].second, out);
  }
  out->append("}>");
}

std::string ReprOfScalar(Runtime& runtime, const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.AsBool() ? "True" : "False";
    case Kind::kInt:
      return std::to_string(value.AsInt());
    case Kind::kFloat:
      return ReprOfFloat(value.AsFloat());
    case Kind::kString:
      return IsMarkup(value) ? Concat("Markup(", ReprOfText(value.AsString()), ")")
                             : ReprOfText(value.AsString());
    case Kind::kRange: {
      const auto& range = value.As<RangeObject>();
      if (range.step == 1) return Concat("range(", range.start, ", ", range.stop, ")");
      return Concat("range(", range.start, ", ", range.stop, ", ", range.step, ")");
    }
    case Kind::kMacro: {
      const auto& macro = *value.As<MacroObject>().function;
      return macro.name.empty() ? "<Macro anonymous>"
                                : Concat("<Macro ", ReprOfText(macro.name), ">");
    }
    case Kind::kLoop: {
      auto& loop = value.Mutable<LoopObject>();
      return Concat("<LoopContext ", loop.index0 + 1, "/", LoopLength(runtime, loop), ">");
    }
    default:
      Fail(Concat("a ", TypeName(value), " has no text: Python shows it with its address"));
  }
}

void AppendRepr(Runtime& runtime, const Value& value, std::string* out) {
  runtime.Step();
  const size_t before = out->size();
  switch (value.kind()) {
    case Kind::kList:
      out->push_back('[');
      AppendItems(runtime, value.As<ListObject>().items, out);
      out->push_back(']');
      return;
    case Kind::kTuple:
      out->push_back('(');
      AppendItems(runtime, value.As<ListObject>().items, out);
      out->append(value.As<ListObject>().items.size() == 1 ? ",)" : ")");
      return;
    case Kind::kDict:
      return AppendDict(runtime, value.As<DictObject>(), out);
    case Kind::kView:
      return AppendView(runtime, value.As<ViewObject>(), out);
    case Kind::kNamespace:
      return AppendNamespace(runtime, value.As<NamespaceObject>(), out);
    default:
      out->append(ReprOfScalar(runtime, value));
      runtime.Allocate(out->size() - before);
  }
}

void AppendEscaped(uint32_t point, std::string* out) {
  if (point < 0x100) {
    absl::StrAppendFormat(out, "\\x%02x", point);
  } else if (point < 0x10000) {
    absl::StrAppendFormat(out, "\\u%04x", point);
  } else {
    absl::StrAppendFormat(out, "\\U%08x", point);
  }
}

}  // namespace

std::string_view TypeName(Kind kind) {
  constexpr std::string_view kNames[] = {
      "missing",     "Undefined", "NoneType", "bool",     "int",    "float",    "str",
      "list",        "tuple",     "dict",     "range",    "view",   "iterator", "Namespace",
      "LoopContext", "Macro",     "method",   "function", "Cycler", "Joiner"};
  return kNames[static_cast<size_t>(kind)];
}

// Python writes an exponent below 1e-4 and from 1e16 on.
std::string ReprOfFloat(double value) {
  if (std::isnan(value)) return "nan";
  if (std::isinf(value)) return value > 0 ? "inf" : "-inf";
  char buffer[32];
  const auto result =
      std::to_chars(buffer, buffer + sizeof buffer, value, std::chars_format::scientific);
  const std::string_view shortest(buffer, static_cast<size_t>(result.ptr - buffer));
  const size_t e = shortest.find('e');
  int exponent = 0;
  const size_t digits_at = shortest[e + 1] == '+' ? e + 2 : e + 1;
  std::from_chars(shortest.data() + digits_at, shortest.data() + shortest.size(), exponent);
  if (exponent < -4 || exponent >= 16) return std::string(shortest);
  char fixed[40];
  const auto end = std::to_chars(fixed, fixed + sizeof fixed, value, std::chars_format::fixed).ptr;
  std::string text(fixed, end);
  if (text.find('.') == std::string::npos) text.append(".0");
  return text;
}

std::string ReprOfText(std::string_view text) {
  const bool apostrophe = text.find('\'') != std::string_view::npos;
  const char quote = apostrophe && text.find('"') == std::string_view::npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t pos = 0; pos < text.size();) {
    const uint32_t point = DecodeUtf8(text, pos);
    const size_t length = Utf8Length(static_cast<unsigned char>(text[pos]));
    if (point == static_cast<uint32_t>(quote) || point == '\\') {
      out.append({'\\', text[pos]});
    } else if (point == '\n' || point == '\r' || point == '\t') {
      out.append(point == '\n' ? "\\n" : point == '\r' ? "\\r" : "\\t");
    } else if (!IsPrintable(point)) {
      AppendEscaped(point, &out);
    } else {
      out.append(text.substr(pos, length));
    }
    pos += length;
  }
  out.push_back(quote);
  return out;
}

std::string Repr(Runtime& runtime, const Value& value) {
  std::string out;
  AppendRepr(runtime, value, &out);
  return out;
}

std::string Str(Runtime& runtime, const Value& value) {
  if (value.Is(Kind::kString)) return value.AsString();
  if (value.Is(Kind::kUndefined)) return "";
  return Repr(runtime, value);
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out.append("&amp;");
        break;
      case '<':
        out.append("&lt;");
        break;
      case '>':
        out.append("&gt;");
        break;
      case '\'':
        out.append("&#39;");
        break;
      case '"':
        out.append("&#34;");
        break;
      default:
        out.push_back(c);
    }
  }
  return out;
}

}  // namespace ftd::jinja
