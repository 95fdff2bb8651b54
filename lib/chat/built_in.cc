// Chat templates for models that have none, such as base models.
#include "lib/chat/template_source.h"

namespace ftd::chat {
namespace {

struct BuiltInTemplate {
  const char* name;
  std::string_view text;
};

constexpr BuiltInTemplate kBuiltIn[] = {
    // Qwen's and many others', without their default system prompts.
    {"chatml", R"({%- for message in messages %}
    {{- '<|im_start|>' + message.role + '\n' + message.content + '<|im_end|>\n' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|im_start|>assistant\n' }}
{%- endif %}
)"},
    {"llama3", R"({{- bos_token }}
{%- for message in messages %}
    {{- '<|start_header_id|>' + message.role + '<|end_header_id|>\n\n' + message.content | trim + '<|eot_id|>' }}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<|start_header_id|>assistant<|end_header_id|>\n\n' }}
{%- endif %}
)"},
    // Gemma has no system role: the system's message opens the first turn of the user.
    {"gemma", R"({{- bos_token }}
{%- set opening = namespace(text='') %}
{%- for message in messages %}
    {%- if message.role == 'system' %}
        {%- set opening.text = message.content | trim + '\n\n' %}
    {%- else %}
        {{- '<start_of_turn>' + ('model' if message.role == 'assistant' else message.role) + '\n' }}
        {{- opening.text + message.content | trim + '<end_of_turn>\n' }}
        {%- set opening.text = '' %}
    {%- endif %}
{%- endfor %}
{%- if add_generation_prompt %}
    {{- '<start_of_turn>model\n' }}
{%- endif %}
)"},
};

}  // namespace

std::vector<std::string> BuiltInNames() {
  std::vector<std::string> names;
  for (const BuiltInTemplate& known : kBuiltIn) names.emplace_back(known.name);
  return names;
}

std::string_view BuiltIn(std::string_view name) {
  for (const BuiltInTemplate& known : kBuiltIn) {
    if (known.name == name) return known.text;
  }
  return {};
}

}  // namespace ftd::chat
