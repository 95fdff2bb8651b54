// Any bytes as a template, and after a NUL the JSON of its variables. Nothing may crash, hang, or
// go beyond the limits; what is refused is refused with a message in UTF-8.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "lib/base/utf8.h"
#include "lib/jinja/template.h"

namespace {

using ftd::jinja::Value;

// What templates look at when the input has no variables of its own.
constexpr std::string_view kVariables =
    R"({"messages": [{"role": "system", "content": "Sé"}, {"role": "user", "content": "U"},
        {"role": "assistant", "content": "A", "tool_calls": [{"function": {"name": "f", "arguments": {"x": 1.5}}}]}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}],
        "add_generation_prompt": true, "bos_token": "<s>", "eos_token": "</s>", "s": "a b", "n": 3, "l": [3, "x", null]})";

Value VariablesOf(std::string_view text) {
  auto value = Value::FromJson(text);
  if (value.ok() && value->Is(ftd::jinja::Kind::kDict)) return *std::move(value);
  return *Value::FromJson(kVariables);
}

void Check(bool holds) {
  if (!holds) std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  const size_t nul = bytes.find('\0');
  const auto parsed = ftd::jinja::Template::Parse(bytes.substr(0, nul));
  if (!parsed.ok()) {
    Check(!parsed.status().message().empty());
    Check(ftd::IsValidUtf8({parsed.status().message().data(), parsed.status().message().size()}));
    return 0;
  }
  const Value variables = VariablesOf(nul == std::string_view::npos ? "" : bytes.substr(nul + 1));
  ftd::jinja::Options options;
  options.now = absl::CivilSecond(2024, 2, 29, 1, 2, 3);
  options.max_steps = 200'000;
  options.max_output_bytes = 1 << 20;
  options.max_value_bytes = 8 << 20;
  const auto rendered = parsed->Render(variables, options);
  const std::string text(rendered.ok() ? rendered->text : std::string(rendered.status().message()));
  Check(ftd::IsValidUtf8(text));
  if (!rendered.ok()) return 0;
  Check(rendered->text.size() <= options.max_output_bytes);
  for (const auto& span : rendered->generations)
    Check(span.begin <= span.end && span.end <= text.size());
  for (const auto& visit : rendered->visits)
    Check(visit.begin <= visit.end && visit.end <= text.size());
  return 0;
}
