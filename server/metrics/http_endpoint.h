// A small HTTP server for machines that look after ftd: /metrics, /healthz.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

class CivetServer;

namespace ftd {

class HttpEndpoint {
 public:
  struct Answer {
    int status = 200;
    std::string content_type = "text/plain; charset=utf-8";
    std::string body;
  };
  // Called on a thread of the server for each GET and HEAD, on two threads at most.
  using Handler = std::function<Answer()>;

  // Listens on HOST:PORT; port 0: any free one. FAILED_PRECONDITION ADDRESS_IN_USE.
  static absl::StatusOr<std::unique_ptr<HttpEndpoint>> Open(const std::string& listen);
  // Waits for the answers that are under way.
  ~HttpEndpoint();

  // From now on `path` is answered; others are not found. A request whose Host header names neither
  // loopback nor where this server listens is refused with 421.
  void Handle(const std::string& path, Handler handler);

  // HOST:PORT as bound.
  const std::string& address() const { return address_; }

 private:
  class Page;
  HttpEndpoint(std::unique_ptr<CivetServer> server, std::string address, std::string host);

  std::vector<std::unique_ptr<Page>> pages_;  // outlive the server
  std::unique_ptr<CivetServer> server_;
  const std::string address_;
  const std::string host_;  // as given, without port
};

}  // namespace ftd
