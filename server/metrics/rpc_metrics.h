// grpc_server_started_total, grpc_server_handled_total and grpc_server_handling_seconds, as ready
// dashboards expect.
#pragma once

#include <grpcpp/server_builder.h>
#include <prometheus/registry.h>

#include <functional>
#include <string>

namespace ftd {

// Gets news of each call, with its peer as gRPC spells it.
struct CallObserver {
  std::function<void(const std::string&)> began, had_message, ended;
};

// Counts every call of the server that `builder` makes, and tells `observer`. Calls that nobody may
// make are not among them. `registry` must outlive that server.
void AddRpcMetrics(grpc::ServerBuilder& builder, prometheus::Registry& registry,
                   const CallObserver& observer);

}  // namespace ftd
