// A connection to ftd: where it is, a channel, and calls that are repeated while ftd is away.
#pragma once

#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "client/base/server_address.h"
#include "ftd/v1/fine_tuning.grpc.pb.h"
#include "grpcpp/channel.h"
#include "grpcpp/security/credentials.h"

namespace ftd {

// `flag` if it is not empty, else $FTCTL_ADDRESS, else the first existing socket of
// $RUNTIME_DIRECTORY/ftd.sock, $XDG_RUNTIME_DIR/ftd/ftd.sock, /run/ftd/ftd.sock; if none exists,
// the first of those that the environment gives. A bare absolute path means unix:PATH.
// INVALID_ARGUMENT reason USAGE for an address that is neither a unix socket nor HOST:PORT, or,
// with `tls` false, not on loopback: without TLS nothing is sent over a network.
absl::StatusOr<std::string> ResolveAddress(const std::string& flag, bool tls);

// Thread-safe.
class Connection {
 public:
  // Without `credentials` plain text is spoken.
  explicit Connection(std::string address,
                      std::shared_ptr<grpc::ChannelCredentials> credentials = nullptr);

  const std::string& address() const { return address_; }
  ftd::v1::FineTuning::Stub& stub() { return *stub_; }

  // Makes a call until it is answered by anything but UNAVAILABLE, at most some three seconds long
  // (RetryInfo is honoured); at once if nobody can be listening. Only for calls that may be
  // repeated safely. The status carries reason and message of the server, or says where ftd was
  // sought and how to start it.
  template <class Request, class Response>
  absl::StatusOr<Response> Call(grpc::Status (ftd::v1::FineTuning::Stub::*method)(
                                    grpc::ClientContext*, const Request&, Response*),
                                const Request& request) {
    Response response;
    absl::Status status = Retry([&] {
      grpc::ClientContext context;
      response.Clear();
      return (stub_.get()->*method)(&context, request, &response);
    });
    if (!status.ok()) return status;
    return response;
  }

  // The loop of Call, for calls of another shape. `attempt` is called at least once.
  absl::Status Retry(const std::function<grpc::Status()>& attempt) const;

  // Lets `time` pass, at least a few milliseconds of it. True, and early, if a broken channel is
  // whole again: gRPC completes a connection only while somebody polls it, so a client that merely
  // slept between its attempts would never see ftd come back.
  bool Rest(std::chrono::milliseconds time) const;

  // Returns an error of the server or the transport as a status of ours.
  absl::Status ToStatus(const grpc::Status& status) const;

 private:
  std::string address_;
  bool tls_;
  std::shared_ptr<grpc::Channel> channel_;
  std::unique_ptr<ftd::v1::FineTuning::Stub> stub_;
};

// Resolves the address, reads the files of `server` or of the FTCTL_* variables in their place, and
// connects lazily: a server that is away shows in the first call. INVALID_ARGUMENT reason USAGE for
// flags that do not go together; NOT_FOUND and others for files that cannot be read.
absl::StatusOr<std::unique_ptr<Connection>> Connect(ServerAddress server);

}  // namespace ftd
