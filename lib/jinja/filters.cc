#include "lib/jinja/filters.h"

#include <algorithm>
#include <iterator>

#include "lib/jinja/attributes.h"
#include "lib/jinja/objects.h"

namespace ftd::jinja {
namespace {

Value Attribute(Runtime& runtime, const Value& input, const Bound& args) {
  if (input.Is(Kind::kUndefined)) FailUndefined(input);
  Value found = FindAttribute(runtime, input, args.Text(0));
  return found.Is(Kind::kMissing) ? Undefined("there is no such attribute") : found;
}

Value Default(Runtime& runtime, const Value& input, const Bound& args) {
  const bool lacks =
      input.Is(Kind::kUndefined) || (args.FlagOr(1, false) && !IsTrue(runtime, input));
  return lacks ? args.Or(0, Value::String("")) : input;
}

// Sorted by name.
constexpr FilterRow kFilters[] = {
    {"abs", {""}, Absolute},
    {"attr", {"name", 1}, Attribute},
    {"batch", {"linecount fill_with", 1}, Batch},
    {"capitalize", {""}, Capitalize},
    {"center", {"width"}, CenterText},
    {"count", {""}, Length},
    {"d", {"default_value boolean"}, Default},
    {"default", {"default_value boolean"}, Default},
    {"dictsort", {"case_sensitive by reverse"}, DictSort},
    {"e", {""}, Escape},
    {"escape", {""}, Escape},
    {"filesizeformat", {"binary"}, FileSize},
    {"first", {""}, First},
    {"float", {"default"}, ToFloat},
    {"forceescape", {""}, ForceEscape},
    {"format", {""}, nullptr, FormatText},
    {"groupby", {"attribute default case_sensitive", 1}, GroupBy},
    {"indent", {"width first blank"}, Indent},
    {"int", {"default base"}, ToInteger},
    {"items", {""}, Items},
    {"join", {"d attribute"}, JoinTexts},
    {"last", {""}, Last},
    {"length", {""}, Length},
    {"list", {""}, ListOf},
    {"lower", {""}, Lower},
    {"map", {""}, nullptr, Map},
    {"max", {"case_sensitive attribute"}, Largest},
    {"min", {"case_sensitive attribute"}, Smallest},
    {"reject", {""}, nullptr, Reject},
    {"rejectattr", {""}, nullptr, RejectAttribute},
    {"replace", {"old new count", 2}, Replace},
    {"reverse", {""}, Reverse},
    {"round", {"precision method"}, Round},
    {"safe", {""}, MarkSafe},
    {"select", {""}, nullptr, Select},
    {"selectattr", {""}, nullptr, SelectAttribute},
    {"slice", {"slices fill_with", 1}, SliceInto},
    {"sort", {"reverse case_sensitive attribute"}, Sort},
    {"string", {""}, ToText},
    {"sum", {"attribute start"}, Sum},
    {"title", {""}, TitleText},
    {"tojson", {"ensure_ascii indent separators sort_keys"}, ToJson},
    {"trim", {"chars"}, Trim},
    {"truncate", {"length killwords end leeway"}, Truncate},
    {"unique", {"case_sensitive attribute"}, Unique},
    {"upper", {""}, Upper},
    {"urlencode", {""}, UrlEncode},
    {"wordcount", {""}, WordCount},
};

constexpr std::string_view kRefused[] = {"pprint", "random",   "striptags",
                                         "urlize", "wordwrap", "xmlattr"};

}  // namespace

const FilterRow* FilterNamed(std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(kFilters), std::end(kFilters), name,
                       [](const FilterRow& row, std::string_view key) { return row.name < key; });
  return found != std::end(kFilters) && found->name == name ? found : nullptr;
}

bool IsRefusedFilter(std::string_view name) {
  return std::find(std::begin(kRefused), std::end(kRefused), name) != std::end(kRefused);
}

Value CallFilter(Runtime& runtime, const FilterRow& row, const Value& input, Args args) {
  runtime.Step();
  if (row.call_any != nullptr) return row.call_any(runtime, input, std::move(args));
  return row.call(runtime, input, Bound(runtime, row.name, row.signature, args));
}

}  // namespace ftd::jinja
