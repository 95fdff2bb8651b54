// ftctl info: the server.
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/names.h"
#include "client/text/table.h"
#include "client/text/times.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

// The short form; `-o json` has every field.
void PrintInfo(const ftd::v1::ServerInfo& info) {
  std::vector<std::string> modes;
  for (const int mode : info.modes())
    modes.push_back(ModeName(static_cast<ftd::v1::JobSpec::Mode>(mode)));
  std::cout << KeyValues({
                   {"version", info.version()},
                   {"revision", info.revision()},
                   {"address", info.listen_address()},
                   {"metrics", info.metrics_address()},
                   {"state dir", info.state_dir()},
                   {"started", info.has_start_time() ? LocalTime(info.start_time()) : ""},
                   {"device", info.device()},
                   {"modes", absl::StrJoin(modes, ", ")},
                   {"jobs", absl::StrCat(info.running(), " running, ", info.queued(), " queued")},
                   {"queue", info.has_drain() ? DrainText(info.drain().owner(), info.drain().time(),
                                                          info.drain().message())
                                              : ""},
               })
            << std::flush;
}

}  // namespace

int InfoVerb(const Invocation& call) {
  std::string output = "table";
  Flags flags(call, "info", "Show the server: version, address, device, modes.", "  ftctl info\n");
  flags.Choice("-o,--output", "Format [table]", {"table", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto info =
      (*connection)
          ->Call(&ftd::v1::FineTuning::Stub::GetServerInfo, ftd::v1::GetServerInfoRequest());
  if (!info.ok()) return Fail(info.status());
  if (output == "table") {
    PrintInfo(*info);
  } else {
    PrintStructured(ToJson(*info), output);
  }
  return kExitOk;
}

}  // namespace ftd
