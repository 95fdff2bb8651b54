#include "lib/jinja/arguments.h"

#include <algorithm>

#include "lib/base/concat.h"

namespace ftd::jinja {
namespace {

std::vector<std::string_view> Names(std::string_view names) {
  std::vector<std::string_view> split;
  while (!names.empty()) {
    const size_t space = std::min(names.find(' '), names.size());
    split.push_back(names.substr(0, space));
    names.remove_prefix(std::min(space + 1, names.size()));
  }
  return split;
}

}  // namespace

Bound::Bound(Runtime& runtime, std::string_view what, const Signature& signature, const Args& args)
    : runtime_(runtime) {
  const std::vector<std::string_view> names = Names(signature.names);
  values_.assign(names.size(), Value::Missing());
  if (args.positional.size() > names.size()) {
    Fail(Concat("'", what, "' takes at most ", names.size(), " arguments, got ",
                args.positional.size()));
  }
  std::copy(args.positional.begin(), args.positional.end(), values_.begin());
  for (const auto& [name, value] : args.named) {
    const auto found = std::find(names.begin(), names.end(), name);
    if (found == names.end() || !signature.keywords)
      Fail(Concat("'", what, "' has no parameter named '", name, "'"));
    Value& slot = values_[static_cast<size_t>(found - names.begin())];
    if (!slot.Is(Kind::kMissing)) Fail(Concat("'", what, "' is given '", name, "' twice"));
    slot = value;
  }
  for (size_t i = 0; i < static_cast<size_t>(signature.required); ++i) {
    if (!Has(i)) Fail(Concat("'", what, "' lacks the argument '", names[i], "'"));
  }
}

bool Bound::FlagOr(size_t i, bool otherwise) const {
  return Has(i) ? IsTrue(runtime_, values_[i]) : otherwise;
}

int64_t Bound::IntegerOr(size_t i, int64_t otherwise) const {
  return Has(i) ? ToIndex(values_[i]) : otherwise;
}

const std::string& Bound::Text(size_t i) const { return TextOf(values_[i]); }

const std::string& TextOf(const Value& value) {
  if (value.Is(Kind::kUndefined)) FailUndefined(value);
  if (!value.Is(Kind::kString)) Fail(Concat("expected a string, got ", TypeName(value)));
  return value.AsString();
}

}  // namespace ftd::jinja
