#include "server/metrics/http_endpoint.h"

#include <CivetServer.h>

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/host/listen_address.h"

namespace ftd {

class HttpEndpoint::Page : public CivetHandler {
 public:
  explicit Page(Handler handler) : handler_(std::move(handler)) {}

  bool handleGet(CivetServer* /*server*/, mg_connection* connection) override {
    return Send(connection, /*with_body=*/true);
  }
  bool handleHead(CivetServer* /*server*/, mg_connection* connection) override {
    return Send(connection, /*with_body=*/false);
  }

 private:
  bool Send(mg_connection* connection, bool with_body) {
    const Answer answer = handler_();
    const std::string head = absl::StrCat(
        "HTTP/1.1 ", answer.status, " ", mg_get_response_code_text(connection, answer.status),
        "\r\nContent-Type: ", answer.content_type, "\r\nContent-Length: ", answer.body.size(),
        "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n");
    mg_write(connection, head.data(), head.size());
    if (with_body) mg_write(connection, answer.body.data(), answer.body.size());
    return true;
  }

  const Handler handler_;
};

HttpEndpoint::HttpEndpoint(std::unique_ptr<CivetServer> server, std::string address)
    : server_(std::move(server)), address_(std::move(address)) {}

HttpEndpoint::~HttpEndpoint() = default;

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Open(const std::string& listen) {
  // The server takes the address as text; this only refuses what is not one.
  FTD_ASSIGN_OR_RETURN(const HostPort host_port, ParseHostPort(listen));
  std::unique_ptr<CivetServer> server;
  try {
    // Two threads, so that a client that sends nothing does not keep the next one waiting.
    server = std::make_unique<CivetServer>(std::vector<std::string>{
        "listening_ports", listen, "num_threads", "2", "request_timeout_ms", "5000"});
  } catch (const std::exception& error) {
    return Error(Reason::kAddressInUse,
                 absl::StrCat("cannot serve metrics on ", listen, ": ", error.what()));
  }
  // Port 0: the kernel has chosen.
  const std::vector<int> ports = server->getListeningPorts();
  const int port = ports.empty() ? host_port.port : ports.front();
  std::string address = absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port);
  return std::unique_ptr<HttpEndpoint>(new HttpEndpoint(std::move(server), std::move(address)));
}

void HttpEndpoint::Handle(const std::string& path, Handler handler) {
  pages_.push_back(std::make_unique<Page>(std::move(handler)));
  server_->addHandler(path, *pages_.back());
}

}  // namespace ftd
