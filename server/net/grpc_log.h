// gRPC's own log lines, in ftd's log.
#pragma once

namespace ftd {

// Call before gRPC starts. $GRPC_VERBOSITY decides which lines there are, as ever.
void SendGrpcLogToOurs();

}  // namespace ftd
