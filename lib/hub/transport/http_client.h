// HTTP over libcurl, as the hub and webhooks need it: redirects that do not carry the token to
// another host, bodies that stream, calls that can be cancelled. Proxies are taken from the
// environment (http_proxy, https_proxy, no_proxy), further certificate authorities from
// SSL_CERT_FILE.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ftd::hub {

// Bytes of an open file, which have to stay until they are sent.
struct FilePart {
  int fd = -1;
  int64_t first_byte = 0;
  int64_t size = 0;
  // Called on the client's thread with the bytes that are on their way; may be empty.
  std::function<void(int64_t bytes)> sent;
};

struct HttpRequest {
  std::string url;
  // Sent as `Authorization: Bearer` to the host of `url`, never to a host that it redirects to.
  std::string bearer;
  int64_t first_byte = 0;           // > 0: asks for the rest of the file from here on (Range)
  std::optional<std::string> body;  // sent with POST
  std::string content_type = "application/json";
  std::string accept;            // "": anything
  std::optional<FilePart> part;  // sent with PUT
  // Messages name only the host of `url`: its path opens something to whoever reads it.
  bool path_is_secret = false;
  // A transfer in which nothing moves for so long is given up. Whole seconds.
  absl::Duration silence = absl::Seconds(30);
};

struct HttpResponse {
  int status = 0;
  std::map<std::string, std::string> headers;  // names in lower case; the last one counts
  std::string body;                            // empty when it went to a BodySink

  // The header's value, or "".
  const std::string& Header(const std::string& lower_case_name) const;
};

// Takes the body of a 2xx answer; an error from either ends the transfer and is what Get returns.
class BodySink {
 public:
  virtual ~BodySink() = default;
  // Once, before any data.
  virtual absl::Status Begin(const HttpResponse& head) = 0;
  virtual absl::Status Data(std::string_view bytes) = 0;
};

// Not thread-safe: one for each thread, which keeps its connections.
class HttpClient {
 public:
  // `cancelled` is asked about once a second during a call, or more often; it may be empty.
  explicit HttpClient(std::function<bool()> cancelled = {});
  ~HttpClient();
  HttpClient(const HttpClient&) = delete;
  HttpClient& operator=(const HttpClient&) = delete;

  // Follows redirects. Any answer of a server is a response, whatever its status. UNAVAILABLE
  // reason HUB_UNREACHABLE when there was none or it broke off, CANCELLED, DATA_LOSS reason
  // HUB_PROTOCOL when it makes no sense (too many redirects, a body beyond 64 MiB without a sink).
  absl::StatusOr<HttpResponse> Get(const HttpRequest& request, BodySink* sink = nullptr);

  // Sends the request's body or part. Follows the redirects that keep it (307, 308). Errors as
  // Get's; DATA_LOSS reason RESULT_MISSING when the file ends before its part does.
  absl::StatusOr<HttpResponse> Send(const HttpRequest& request);

  // Sends `json`. Follows no redirect. Messages name only the host of `url`, whose path may be a
  // secret. Errors as Get's.
  absl::StatusOr<HttpResponse> Post(const std::string& url, const std::string& json);

  // Lets `time` pass. CANCELLED when cancelled meanwhile.
  absl::Status Sleep(absl::Duration time) const;

  bool cancelled() const { return cancelled_ && cancelled_(); }

 private:
  struct Transfer;
  absl::StatusOr<HttpResponse> Follow(const HttpRequest& request, BodySink* sink,
                                      bool (*is_redirect)(int status));
  absl::StatusOr<HttpResponse> Perform(const HttpRequest& request, BodySink* sink);

  std::function<bool()> cancelled_;
  std::unique_ptr<void, void (*)(void*)> curl_;
};

}  // namespace ftd::hub
