#include "server/net/grpc_log.h"

#include <grpcpp/version_info.h>

#include "server/host/log.h"

// Newer releases log through Abseil, whose lines stay as they are.
#if GRPC_CPP_VERSION_MAJOR == 1 && GRPC_CPP_VERSION_MINOR < 65
#include <grpc/support/log.h>

namespace ftd {
namespace {

LogLevel LevelOf(gpr_log_severity severity) {
  return severity == GPR_LOG_SEVERITY_ERROR ? LogLevel::kError : LogLevel::kInfo;
}

void Log(gpr_log_func_args* line) {
  LogLine(LevelOf(line->severity), {}, absl::StrCat("gRPC: ", line->message));
}

}  // namespace

void SendGrpcLogToOurs() { gpr_set_log_function(Log); }

}  // namespace ftd
#else
namespace ftd {

void SendGrpcLogToOurs() {}

}  // namespace ftd
#endif
