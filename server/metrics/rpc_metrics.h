// grpc_server_started_total, grpc_server_handled_total and grpc_server_handling_seconds, as ready
// dashboards expect.
#pragma once

#include <grpcpp/support/server_interceptor.h>
#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string>

namespace ftd {

// Gets news of each call, with its peer as gRPC spells it.
struct CallObserver {
  std::function<void(const std::string&)> began, had_message;
  std::function<void(const std::string& peer, bool was_reset)> ended;
};

// Whether there is a method "ftd.v1.FineTuning.GetJob".
using MethodTest = std::function<bool(const std::string&)>;

// Counts every call of the server whose interceptor it is, and tells `observer`; those of methods
// that do not exist together. Calls that nobody may make are not among them. `registry` must
// outlive that server.
std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> RpcMetrics(
    prometheus::Registry& registry, const MethodTest& exists, const CallObserver& observer);

}  // namespace ftd
