#include "lib/jinja/template.h"

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/lexer.h"
#include "lib/jinja/parser.h"
#include "lib/jinja/program.h"
#include "lib/jinja/render.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/scopes.h"

namespace ftd::jinja {
namespace {

// The payload of an error that the template itself raised.
constexpr char kRaisedUrl[] = "ftd/jinja/raised";
// Beyond any chat template, of which the largest have some 30 KB.
constexpr size_t kMaxSourceBytes = size_t{1} << 20;

absl::Status StatusOf(const Failure& failure, std::string_view source, uint32_t at) {
  if (failure.raised) {
    absl::Status status(failure.code, failure.message);
    status.SetPayload(kRaisedUrl, absl::Cord());
    return status;
  }
  return {failure.code,
          Concat(PositionText(source, failure.at.value_or(at)), ": ", failure.message)};
}

}  // namespace

std::shared_ptr<const Program> Compile(std::string_view source) {
  auto program = std::make_shared<Program>();
  program->source = std::string(source);
  program->body = Parser(Tokenize(program->source)).ParseTemplate();
  ResolveScopes(program.get());
  return program;
}

Template::Template(std::shared_ptr<const Program> program) : program_(std::move(program)) {}

absl::StatusOr<Template> Template::Parse(std::string_view source) {
  if (source.size() > kMaxSourceBytes) {
    return absl::InvalidArgumentError(
        Concat("the template has more than ", kMaxSourceBytes, " bytes"));
  }
  if (!IsValidUtf8(source)) return absl::InvalidArgumentError("the template is not valid UTF-8");
  const std::string normalized = NormalizeSource(source);
  try {
    return Template(Compile(normalized));
  } catch (const Failure& failure) {
    return StatusOf(failure, normalized, 0);
  }
}

absl::StatusOr<Rendered> Template::Render(const Value& variables, const Options& options) const {
  if (!variables.Is(Kind::kDict))
    return absl::InvalidArgumentError("the variables of a template must be a dict");
  Runtime runtime(options, variables);
  try {
    RenderProgram(runtime, *program_);
  } catch (const Failure& failure) {
    return StatusOf(failure, program_->source, runtime.at);
  }
  return std::move(runtime.rendered);
}

bool IsRaisedByTemplate(const absl::Status& status) {
  return status.GetPayload(kRaisedUrl).has_value();
}

}  // namespace ftd::jinja
