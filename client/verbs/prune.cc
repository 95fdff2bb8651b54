// ftctl prune: remove what no job needs any more.
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "client/text/times.h"
#include "lib/base/short_bytes.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using ftd::v1::PruneResponse;

// A table of what went or would go, and the sum.
void PrintPruned(const PruneResponse& pruned, bool dry_run) {
  const double now = NowSeconds();
  std::vector<std::vector<std::string>> rows;
  for (const PruneResponse::Item& item : pruned.items()) {
    const std::string job = item.job_name().empty() ? item.job() : item.job_name();
    rows.push_back({job.empty() ? "-" : job,
                    absl::AsciiStrToLower(ftd::v1::Removal::Kind_Name(item.kind())),
                    ShortBytes(item.size_bytes()),
                    ShortDuration(now - Seconds(item.unneeded_time())), item.path()});
  }
  if (!rows.empty()) std::cout << Table({"JOB", "KIND", "SIZE", "AGE", "PATH"}, rows);
  const int64_t left_out = pruned.total_count() - pruned.items_size();
  if (left_out > 0) std::cout << "and " << left_out << " more\n";
  if (pruned.total_count() == 0) {
    std::cerr << "Nothing to prune." << std::endl;
  } else {
    std::cout << (dry_run ? "would free " : "freed ")
              << ShortBytes(dry_run ? pruned.total_bytes() : pruned.freed_bytes()) << " of "
              << pruned.total_count() << (pruned.total_count() == 1 ? " item" : " items") << "\n";
  }
  std::cout << std::flush;
}

}  // namespace

// What could not be removed is tried again by ftd itself, so it is a warning.
int PruneVerb(const Invocation& call) {
  ftd::v1::PruneRequest request;
  std::string output = "table";
  Flags flags(call, "prune",
              "Remove what no job needs any more and ftd's retention settings do not keep: "
              "checkpoints,\n"
              "logs and results of jobs that have ended, and uploads. Admins prune for everybody, "
              "others what\n"
              "their own jobs left. ftd does the same by itself.",
              "  ftctl prune --dry-run\n  ftctl prune\n");
  flags.Switch("--dry-run", "Remove nothing, only show what would go",
               [&](bool dry_run) { request.set_dry_run(dry_run); });
  flags.Choice("-o,--output", "Format [table]", {"table", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto pruned = (*connection)->Call(&ftd::v1::FineTuning::Stub::Prune, request);
  if (!pruned.ok()) return Fail(pruned.status());
  if (output == "table") {
    PrintPruned(*pruned, request.dry_run());
  } else {
    PrintStructured(ToJson(*pruned), output);
  }
  for (const PruneResponse::Item& item : pruned->items()) {
    if (item.error().empty()) continue;
    std::cerr << "warning: " << Printable(item.path())
              << " is still there: " << Printable(item.error()) << std::endl;
  }
  return kExitOk;
}

}  // namespace ftd
