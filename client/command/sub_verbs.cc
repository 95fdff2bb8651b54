#include "client/command/sub_verbs.h"

#include <string>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/base/exit_codes.h"
#include "client/text/text.h"
#include "lib/base/error.h"
#include "lib/base/nearest.h"

namespace ftd {
namespace {

// The verb's own description is its first sub-verb's; the others come below it. Words without a
// dash are sub-verbs there, never what the first one takes.
int Describe(const Invocation& call, absl::Span<const Verb> sub_verbs) {
  sub_verbs[0].run(call);
  call.describe->arguments.clear();
  for (const Verb& verb : sub_verbs) {
    CommandDoc doc;
    verb.run({.describe = &doc});
    doc.name = verb.name;
    doc.summary = verb.help;
    call.describe->commands.push_back(std::move(doc));
  }
  return kExitOk;
}

}  // namespace

int RunSubVerb(const Invocation& call, const char* verb, absl::Span<const Verb> sub_verbs) {
  if (call.describe != nullptr) return Describe(call, sub_verbs);
  // Without a sub-verb the first one runs: `ftctl models` is `ftctl models ls`.
  if (call.args.empty() || absl::StartsWith(call.args[0], "-")) return sub_verbs[0].run(call);
  Invocation rest = call;
  rest.args.erase(rest.args.begin());
  std::vector<std::string> names;
  for (const Verb& sub_verb : sub_verbs) {
    if (call.args[0] == sub_verb.name) return sub_verb.run(rest);
    names.emplace_back(sub_verb.name);
  }
  const std::string nearest = Nearest(call.args[0], names);
  return Fail(Error(Reason::kUsage,
                    absl::StrCat("unknown verb '", verb, " ", Printable(call.args[0]), "'; ",
                                 nearest.empty() ? "it is one of " : "did you mean ",
                                 nearest.empty() ? absl::StrJoin(names, ", ") : nearest + "?")));
}

}  // namespace ftd
