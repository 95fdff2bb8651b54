#include "server/metrics/http_endpoint.h"

#include <CivetServer.h>
#include <arpa/inet.h>
#include <netinet/in.h>
#include <unistd.h>

#include <string_view>
#include <utility>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/host/listen_address.h"

namespace ftd {
namespace {

// An address in numbers.
struct Literal {
  bool valid = false, loopback = false, any = false;
};

Literal ReadLiteral(const std::string& host) {
  in_addr four{};
  if (inet_pton(AF_INET, host.c_str(), &four) == 1) {
    const uint32_t number = ntohl(four.s_addr);
    return {.valid = true, .loopback = number >> 24 == IN_LOOPBACKNET, .any = number == INADDR_ANY};
  }
  in6_addr six{};
  if (inet_pton(AF_INET6, host.c_str(), &six) != 1) return {};
  return {.valid = true,
          .loopback = IN6_IS_ADDR_LOOPBACK(&six) != 0,
          .any = IN6_IS_ADDR_UNSPECIFIED(&six) != 0};
}

// Returns the host of a Host header, without port, brackets and the dot of a complete name.
std::string HostOf(std::string_view header) {
  if (!header.empty() && header.front() == '[') {
    const size_t end = header.find(']');
    if (end == std::string_view::npos) return "";
    const std::string_view rest = header.substr(end + 1);
    return rest.empty() || rest.front() == ':' ? std::string(header.substr(1, end - 1)) : "";
  }
  header = header.substr(0, header.find(':'));
  if (!header.empty() && header.back() == '.') header.remove_suffix(1);
  return std::string(header);
}

std::string NameOfThisHost() {
  char name[256] = {};
  return gethostname(name, sizeof(name) - 1) == 0 ? name : "";
}

// Whether a request with this Host header is for a server on `bound`. A page of the web may name
// its own host and let that point to this address (DNS rebinding), to read what only this machine
// may. No header, as with HTTP/1.0: not from a browser. A server on all addresses has any of them.
bool IsForUs(const char* header, const std::string& bound) {
  if (header == nullptr) return true;
  const std::string host = HostOf(header);
  if (absl::EqualsIgnoreCase(host, "localhost") || absl::EqualsIgnoreCase(host, bound)) return true;
  const Literal literal = ReadLiteral(host);
  if (literal.loopback) return true;
  if (!ReadLiteral(bound).any) return false;
  return literal.valid || absl::EqualsIgnoreCase(host, NameOfThisHost());
}

}  // namespace

class HttpEndpoint::Page : public CivetHandler {
 public:
  Page(Handler handler, std::string bound)
      : handler_(std::move(handler)), bound_(std::move(bound)) {}

  bool handleGet(CivetServer* /*server*/, mg_connection* connection) override {
    return Send(connection, /*with_body=*/true);
  }
  bool handleHead(CivetServer* /*server*/, mg_connection* connection) override {
    return Send(connection, /*with_body=*/false);
  }

 private:
  bool Send(mg_connection* connection, bool with_body) {
    const Answer answer =
        IsForUs(mg_get_header(connection, "Host"), bound_)
            ? handler_()
            : Answer{.status = 421, .body = "the Host header names another host\n"};
    const std::string head = absl::StrCat(
        "HTTP/1.1 ", answer.status, " ", mg_get_response_code_text(connection, answer.status),
        "\r\nContent-Type: ", answer.content_type, "\r\nContent-Length: ", answer.body.size(),
        "\r\nCache-Control: no-store\r\nConnection: close\r\n\r\n");
    mg_write(connection, head.data(), head.size());
    if (with_body) mg_write(connection, answer.body.data(), answer.body.size());
    return true;
  }

  const Handler handler_;
  const std::string bound_;
};

HttpEndpoint::HttpEndpoint(std::unique_ptr<CivetServer> server, std::string address,
                           std::string host)
    : server_(std::move(server)), address_(std::move(address)), host_(std::move(host)) {}

HttpEndpoint::~HttpEndpoint() = default;

absl::StatusOr<std::unique_ptr<HttpEndpoint>> HttpEndpoint::Open(const std::string& listen) {
  // The server takes the address as text; this only refuses what is not one.
  FTD_ASSIGN_OR_RETURN(const HostPort host_port, ParseHostPort(listen));
  std::unique_ptr<CivetServer> server;
  try {
    // Two threads, so that a client that sends nothing does not keep the next one waiting.
    server = std::make_unique<CivetServer>(std::vector<std::string>{
        "listening_ports", listen, "num_threads", "2", "request_timeout_ms", "3000"});
  } catch (const std::exception& error) {
    return Error(Reason::kAddressInUse,
                 absl::StrCat("cannot serve metrics on ", listen, ": ", error.what()));
  }
  // Port 0: the kernel has chosen.
  const std::vector<int> ports = server->getListeningPorts();
  const int port = ports.empty() ? host_port.port : ports.front();
  std::string address = absl::StrCat(listen.substr(0, listen.rfind(':')), ":", port);
  return std::unique_ptr<HttpEndpoint>(
      new HttpEndpoint(std::move(server), std::move(address), host_port.host));
}

void HttpEndpoint::Handle(const std::string& path, Handler handler) {
  pages_.push_back(std::make_unique<Page>(std::move(handler), host_));
  server_->addHandler(path, *pages_.back());
}

}  // namespace ftd
