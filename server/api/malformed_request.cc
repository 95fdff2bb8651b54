#include "server/api/malformed_request.h"

#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/streams/grpc_status.h"

namespace ftd {
namespace {

using grpc::experimental::InterceptionHookPoints;
using grpc::experimental::Interceptor;
using grpc::experimental::InterceptorBatchMethods;
using grpc::experimental::ServerRpcInfo;

// Watches one call. gRPC shows an interceptor the message that it has parsed, or null.
class Judge : public Interceptor {
 public:
  explicit Judge(std::string method) : method_(std::move(method)) {}

  void Intercept(InterceptorBatchMethods* methods) override {
    if (methods->QueryInterceptionHookPoint(InterceptionHookPoints::POST_RECV_MESSAGE))
      malformed_ = methods->GetRecvMessage() == nullptr;
    if (malformed_ && methods->QueryInterceptionHookPoint(InterceptionHookPoints::PRE_SEND_STATUS))
      methods->ModifySendStatus(ToGrpc(MalformedRequest(method_)));
    methods->Proceed();
  }

 private:
  const std::string method_;
  bool malformed_ = false;
};

class JudgeFactory : public grpc::experimental::ServerInterceptorFactoryInterface {
 public:
  // A null message ends a stream of the client's in good order, so only calls with one request are
  // watched. The reactor of UploadFile judges what comes.
  Interceptor* CreateServerInterceptor(ServerRpcInfo* info) override {
    const bool one_request = info->type() == ServerRpcInfo::Type::UNARY ||
                             info->type() == ServerRpcInfo::Type::SERVER_STREAMING;
    if (!one_request) return nullptr;
    return std::make_unique<Judge>(info->method()).release();  // gRPC owns it
  }
};

}  // namespace

absl::Status MalformedRequest(const std::string& method) {
  return Error(Reason::kFieldInvalid,
               absl::StrCat("the request of ", method,
                            " is not its message in protobuf's encoding, or a string in it is not "
                            "UTF-8"));
}

std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface> MalformedRequests() {
  return std::make_unique<JudgeFactory>();
}

}  // namespace ftd
