// Any bytes as a client of the metrics port. It answers as HTTP or not at all, and only what it
// serves.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "server/metrics/http_endpoint.h"

namespace {

constexpr std::string_view kSecret = "ftd_secret_of_the_process";

void Check(bool holds) {
  if (!holds) std::abort();
}

ftd::HttpEndpoint& Endpoint() {
  static ftd::HttpEndpoint& endpoint = *[] {
    auto opened = ftd::HttpEndpoint::Open("127.0.0.1:0");
    Check(opened.ok());
    (*opened)->Handle("/metrics", [] { return ftd::HttpEndpoint::Answer{.body = "ftd_up 1\n"}; });
    (*opened)->Handle("/healthz",
                      [] { return ftd::HttpEndpoint::Answer{.status = 503, .body = "no\n"}; });
    return opened->release();
  }();
  return endpoint;
}

std::string Exchange(std::string_view request) {
  const std::string& address = Endpoint().address();
  sockaddr_in to = {};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(std::atoi(address.c_str() + address.rfind(':') + 1)));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  Check(fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0);
  const timeval limit = {.tv_sec = 15, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
  (void)send(fd, request.data(), request.size(), MSG_NOSIGNAL);
  shutdown(fd, SHUT_WR);
  std::string answer;
  char piece[4096];
  while (true) {
    const ssize_t size = recv(fd, piece, sizeof piece, 0);
    // A client that has said all that it will is answered at once.
    Check(size >= 0 || errno == ECONNRESET);
    if (size <= 0) break;
    answer.append(piece, static_cast<size_t>(size));
    Check(answer.size() < (1 << 20));
  }
  close(fd);
  return answer;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  static const int unused = setenv("FTD_FUZZ_SECRET", kSecret.data(), 1);
  (void)unused;
  const std::string_view request(reinterpret_cast<const char*>(data), size);
  // libFuzzer learns what is compared, and tries it.
  if (request.find(kSecret) != std::string_view::npos) return 0;
  const std::string answer = Exchange(request);
  // CivetWeb's refusal of a request has the version that the request claims.
  Check(answer.empty() || answer.rfind("HTTP/", 0) == 0);
  Check(answer.find(kSecret) == std::string::npos);
  return 0;
}
