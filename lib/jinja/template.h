// Chat templates: the part of Jinja2 that they need, rendered as transformers' apply_chat_template
// renders it (transformers 5, Jinja2 3.1: an immutable sandbox with trim_blocks and lstrip_blocks,
// without autoescape; the filter tojson, the functions raise_exception and strftime_now, the blocks
// {% generation %} and {% break %}).
//
// What Jinja2 has and this library lacks is refused when the template is parsed, by name, line and
// column: {% include %}, {% import %}, {% extends %}, {% block %}, {% autoescape %}; the filters
// pprint, random, striptags, urlize, wordwrap and xmlattr; the function lipsum; identifiers that
// are not ASCII; lone surrogates. Values that only a running template shows are errors of the
// rendering, never other text: integers beyond 64 bits, and what Python prints with an address of
// memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/civil_time.h"
#include "lib/jinja/value.h"

namespace ftd::jinja {

struct Options {
  // What strftime_now formats; without it, a template that calls strftime_now fails. The library
  // reads no clock.
  std::optional<absl::CivilSecond> now;
  // Objects (lists or dicts) whose rendering is to be found in Rendered::visits: usually the very
  // Values that the list `messages` was made of, since a copy of a Value keeps its identity.
  std::vector<Value> watched;

  // RESOURCE_EXHAUSTED when one is exceeded. Steps are expressions, statements, and elements or 64
  // bytes that a filter handles. Value bytes are counted as they are made, never when they are
  // freed. Levels are nested calls of macros and recursive loops.
  uint64_t max_steps = 10'000'000;
  uint64_t max_output_bytes = uint64_t{64} << 20;
  uint64_t max_value_bytes = uint64_t{512} << 20;
  int max_levels = 200;
};

// A {% generation %} block in the text, in bytes. transformers cannot place a block inside captured
// output (a macro, {% set %}…{% endset %}, {% filter %}, {% call %}, a recursive loop, another
// generation block): it takes all that was written before the outermost of them as the beginning.
// Such a block has the same span here, cut at the end of the text, and `captured` is true.
struct Generation {
  size_t begin, end;
  bool captured;
};

// One iteration of a for loop over a watched value, and the bytes of the text that it made. Only
// loops whose output goes straight to the text, also through a generation block, are recorded: the
// place of captured output in the text is not known. An iteration may have written nothing.
struct Visit {
  size_t watched;  // the index in Options::watched
  size_t begin, end;
};

struct Rendered {
  std::string text;                     // UTF-8
  std::vector<Generation> generations;  // in the order in which the blocks ended
  std::vector<Visit> visits;            // in the order in which the iterations ended
};

struct Program;

// A parsed template. Immutable: Render may be called from many threads at once.
class Template {
 public:
  // INVALID_ARGUMENT with "line L, column C: …" for a syntax error, for what is not supported, and
  // for a source that is not UTF-8.
  static absl::StatusOr<Template> Parse(std::string_view source);

  // `variables` is a dict with strings as keys. INVALID_ARGUMENT for an error of the template, with
  // line and column, and for raise_exception, with the template's own message alone
  // (IsRaisedByTemplate tells them apart); RESOURCE_EXHAUSTED for a limit of `options`.
  absl::StatusOr<Rendered> Render(const Value& variables, const Options& options) const;

 private:
  explicit Template(std::shared_ptr<const Program> program);
  std::shared_ptr<const Program> program_;
};

// Returns whether the template itself refused its input, by raise_exception.
bool IsRaisedByTemplate(const absl::Status& status);

}  // namespace ftd::jinja
