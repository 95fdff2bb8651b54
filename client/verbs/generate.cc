// ftctl generate: one answer of a result, of a model, or of both.
#include <unistd.h>

#include <chrono>
#include <iostream>
#include <iterator>
#include <string>
#include <string_view>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/answer_flags.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/answer.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/text.h"
#include "client/watch/terminal.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd {
namespace {

constexpr const char* kGenerateExamples =
    "  ftctl generate first --prompt \"Once upon a time\"\n"
    "  ftctl generate first --base --messages question.json --temperature 0.7 --seed 1\n"
    "  echo \"2 + 2 =\" | ftctl generate qwen3-0.6b --max-new-tokens 4 -o json\n";

struct GenerateCall {
  std::string name, prompt, messages_file;
  bool has_prompt = false, base = false;
  std::string output = "text";
  v1::GenerateRequest request;
};

// The prompt is a flag's, a file's, or all of stdin.
absl::Status SetInput(GenerateCall& call) {
  if (call.has_prompt && !call.messages_file.empty())
    return Error(Reason::kUsage, "give --prompt or --messages");
  if (!call.messages_file.empty()) {
    FTD_ASSIGN_OR_RETURN(*call.request.mutable_messages_json(), ReadFile(call.messages_file));
    return absl::OkStatus();
  }
  if (!call.has_prompt && isatty(STDIN_FILENO) == 1)
    return Error(Reason::kUsage, "give --prompt, --messages, or a text on stdin");
  if (!call.has_prompt) {
    call.prompt.assign(std::istreambuf_iterator<char>(std::cin), {});
    // A text to continue does not have the line end that `echo` adds.
    if (call.prompt.ends_with('\n')) call.prompt.pop_back();
  }
  call.request.set_prompt(call.prompt);
  return absl::OkStatus();
}

// A terminal must not obey what a model has written.
void PrintText(std::string_view text) {
  std::cout << (StdoutIsTerminal() ? PrintableLines(text) : std::string(text)) << std::flush;
}

nlohmann::ordered_json JsonOf(const std::string& source, const Answer& answer) {
  return {{"source", source},
          {"text", answer.text},
          {"finish_reason", answer.outcome.finish_reason()},
          {"prompt_tokens", answer.outcome.prompt_tokens()},
          {"new_tokens", answer.outcome.new_tokens()},
          {"device", answer.outcome.device()},
          {"seed", answer.outcome.seed()}};
}

// Asks one source, and prints its answer: as it comes, or with all others in `list`.
absl::Status AskOne(Connection& connection, const GenerateCall& call, const std::string& title,
                    bool base, int64_t* seed, StructuredList* list) {
  v1::GenerateRequest request = call.request;
  request.set_base(base);
  if (*seed >= 0) request.set_seed(*seed);
  const bool as_text = call.output == "text";
  // With two answers each has a title.
  if (as_text && call.base) std::cout << "== " << Printable(title) << " ==" << std::endl;
  Answer answer;
  grpc::ClientContext context;
  const AnswerView view{.on_text =
                            [&](std::string_view text) {
                              if (as_text) PrintText(text);
                            },
                        .on_loading =
                            [&](std::string_view device) {
                              if (StderrIsTerminal())
                                std::cerr << "loading " << Printable(title) << " on "
                                          << (device == "cpu" ? "the CPU" : "the GPU") << std::endl;
                            }};
  const absl::Status status = Ask(connection, context, request, view, &answer);
  if (as_text) std::cout << std::endl;
  FTD_RETURN_IF_ERROR(status);
  // The second source draws as the first did.
  *seed = answer.outcome.seed();
  if (!as_text) list->Add(JsonOf(title, answer));
  return absl::OkStatus();
}

}  // namespace

int GenerateVerb(const Invocation& invocation) {
  GenerateCall call;
  Flags flags(invocation, "generate",
              "Continue a text, or answer a conversation, with a job's result or with a model. The "
              "server keeps the model loaded for\na while: on its GPU while no job needs that, "
              "else on its CPU.",
              kGenerateExamples);
  flags.Positional("NAME", "A job, by id or name; or a model", &call.name, "JOB|MODEL");
  flags.Text("--prompt", "Text to continue [stdin]", [&](const std::string& given) {
    call.prompt = given;
    call.has_prompt = true;
  });
  flags.Text("--messages", "JSON: a list of messages to answer, for the model's chat template",
             &call.messages_file, "FILE");
  flags.Switch("--base", "Show beside it what the model answered that the job began with",
               &call.base);
  std::vector<std::string> stops;
  flags.Repeated("--stop", "Text that ends the answer; may be repeated", &stops);
  flags.Choice("-o,--output", "Format [text]", {"text", "json", "yaml"}, &call.output);
  AddAnswerFlags(flags, &call.request);
  if (const auto code = flags.Parse()) return *code;
  for (const std::string& stop : stops) call.request.add_stop(stop);
  if (const absl::Status status = SetInput(call); !status.ok()) return Fail(status);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  if (const auto status = SetSource(**connection, call.name, call.request); !status.ok())
    return Fail(status);
  if (call.base && !call.request.has_job())
    return Fail(
        Error(Reason::kUsage, absl::StrCat("--base is for jobs, and there is no job ", call.name)));
  StructuredList list(call.output);
  int64_t seed = -1;
  absl::Status status;
  if (call.base) status = AskOne(**connection, call, "base", /*base=*/true, &seed, &list);
  if (status.ok()) status = AskOne(**connection, call, call.name, /*base=*/false, &seed, &list);
  if (!status.ok()) return Fail(status);
  if (call.output != "text") list.End();
  return kExitOk;
}

}  // namespace ftd
