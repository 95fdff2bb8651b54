#include "server/metrics/rpc_metrics.h"

#include <grpcpp/server_context.h>
#include <grpcpp/support/server_interceptor.h>
#include <prometheus/counter.h>
#include <prometheus/histogram.h>

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/strings/str_cat.h"

namespace ftd {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

struct Families {
  prometheus::Family<prometheus::Counter>& started;
  prometheus::Family<prometheus::Counter>& handled;
  prometheus::Family<prometheus::Histogram>& seconds;
};

// Returns the value of grpc_type as Go's interceptor spells it.
const char* TypeName(ServerRpcInfo::Type type) {
  switch (type) {
    case ServerRpcInfo::Type::UNARY:
      return "unary";
    case ServerRpcInfo::Type::CLIENT_STREAMING:
      return "client_stream";
    case ServerRpcInfo::Type::SERVER_STREAMING:
      return "server_stream";
    default:
      return "bidi_stream";
  }
}

// Returns a code's name as Go's interceptor spells it, "InvalidArgument": dashboards that exist use
// its names.
std::string CodeName(grpc::StatusCode code) {
  std::string name = absl::StatusCodeToString(static_cast<absl::StatusCode>(code));
  std::string camel;
  bool upper = true;
  for (const char c : name) {
    if (c != '_') {
      camel.push_back(upper ? c : static_cast<char>(std::tolower(static_cast<unsigned char>(c))));
    }
    upper = c == '_';
  }
  return code == grpc::StatusCode::OK ? "OK" : camel;
}

// Returns the labels of a method: its service and name, or "unknown" for both when there is no such
// method, because a caller could make any number of series otherwise. gRPC's health service has no
// descriptor here.
prometheus::Labels MethodLabels(const std::string& path,
                                const MethodTest& exists) {  // "/ftd.v1.FineTuning/GetJob"
  constexpr char kHealth[] = "grpc.health.v1.Health";
  const size_t slash = path.rfind('/');
  std::string service = path.substr(1, slash - 1), method = path.substr(slash + 1);
  const bool known = service == kHealth ? method == "Check" || method == "Watch"
                                        : exists(absl::StrCat(service, ".", method));
  if (!known) service = method = "unknown";
  return {{"grpc_service", std::move(service)}, {"grpc_method", std::move(method)}};
}

// Counts one call. gRPC makes an interceptor for each.
class CallCounter : public Interceptor {
 public:
  CallCounter(Families families, prometheus::Labels labels, const grpc::ServerContextBase& context,
              const CallObserver& observer)
      : families_(families),
        labels_(std::move(labels)),
        callback_context_(dynamic_cast<const grpc::CallbackServerContext*>(&context)),
        peer_(context.peer()),
        observer_(observer),
        start_(std::chrono::steady_clock::now()) {
    families_.started.Add(labels_).Increment();
    observer_.began(peer_);
  }
  ~CallCounter() override { observer_.ended(peer_, was_reset_); }
  CallCounter(const CallCounter&) = delete;
  CallCounter& operator=(const CallCounter&) = delete;

  // A call ends when its status is sent.
  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE))
      observer_.had_message(peer_);
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_CLOSE))
      was_reset_ = WasReset();
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS)) {
      has_status_ = true;
      const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start_;
      families_.seconds.Add(labels_, kSeconds).Observe(took.count());
      labels_["grpc_code"] = CodeName(methods->GetSendStatus().error_code());
      families_.handled.Add(labels_).Increment();
    }
    methods->Proceed();
  }

 private:
  // Of a call of the health or the reflection service, which have no callbacks, IsCancelled would
  // come back here without end.
  bool WasReset() const {
    return callback_context_ != nullptr ? callback_context_->IsCancelled() : !has_status_;
  }

  inline static const prometheus::Histogram::BucketBoundaries kSeconds = {
      0.002, 0.01, 0.05, 0.25, 1, 5};  // few: they are multiplied by the methods
  const Families families_;
  prometheus::Labels labels_;
  const grpc::CallbackServerContext* const callback_context_;  // null: of another kind
  const std::string peer_;
  std::atomic<bool> has_status_{false};
  std::atomic<bool> was_reset_{false};  // or cancelled by the server, or past its deadline
  const CallObserver& observer_;
  const std::chrono::steady_clock::time_point start_;
};

class CallCounterFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  CallCounterFactory(Families families, MethodTest exists, const CallObserver& observer)
      : families_(families), exists_(std::move(exists)), observer_(observer) {}

  // Called by gRPC at the beginning of each call.
  Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    prometheus::Labels labels = MethodLabels(info->method(), exists_);
    labels["grpc_type"] = TypeName(info->type());
    return std::make_unique<CallCounter>(families_, std::move(labels), *info->server_context(),
                                         observer_)
        .release();  // gRPC owns it
  }

 private:
  const Families families_;
  const MethodTest exists_;
  const CallObserver observer_;
};

}  // namespace

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> RpcMetrics(
    prometheus::Registry& registry, const MethodTest& exists, const CallObserver& observer) {
  const Families families{prometheus::BuildCounter()
                              .Name("grpc_server_started_total")
                              .Help("Calls begun.")
                              .Register(registry),
                          prometheus::BuildCounter()
                              .Name("grpc_server_handled_total")
                              .Help("Calls ended, by code.")
                              .Register(registry),
                          prometheus::BuildHistogram()
                              .Name("grpc_server_handling_seconds")
                              .Help("Time of calls.")
                              .Register(registry)};
  return std::make_unique<CallCounterFactory>(families, exists, observer);
}

}  // namespace ftd
