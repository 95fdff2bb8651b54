// grpc_server_started_total, grpc_server_handled_total and grpc_server_handling_seconds, as ready
// dashboards expect.
#pragma once

#include <grpcpp/server_builder.h>
#include <prometheus/registry.h>

namespace ftd {

// Counts every call of the server that `builder` makes. `registry` must outlive that server.
void AddRpcMetrics(grpc::ServerBuilder& builder, prometheus::Registry& registry);

}  // namespace ftd
