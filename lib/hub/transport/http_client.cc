#include "lib/hub/transport/http_client.h"

#include <curl/curl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <cstdlib>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/hub/transport/url.h"

namespace ftd::hub {
namespace {

constexpr int kMostRedirects = 10;
constexpr size_t kMostBody = 64u << 20;
constexpr long kConnectTimeoutMs = 10000, kBufferBytes = 512 << 10;

// Returns scheme, host and path: a query may be a signature that opens the file to whoever reads
// the log. Of a webhook the path does.
std::string Shown(const HttpRequest& request) {
  if (!request.path_is_secret) return request.url.substr(0, request.url.find('?'));
  const std::string host = HostOf(request.url);
  return host.empty() ? "the address" : host;
}

absl::Status HttpProtocolError(const HttpRequest& request, absl::string_view what) {
  return Error(Reason::kHubProtocol, absl::StrCat(Shown(request), ": ", what));
}

bool KeepsBody(int status) { return status == 307 || status == 308; }
bool IsRedirect(int status) {
  return status == 301 || status == 302 || status == 303 || KeepsBody(status);
}

// Points the request at a redirect's target. The hub redirects large files to another host with a
// signed URL; the token must not go there, and https must not become http.
absl::Status PointAtTarget(const HttpResponse& response, HttpRequest& request) {
  const auto to = ResolveUrl(request.url, response.Header("location"));
  if (!to.has_value()) return HttpProtocolError(request, "redirects to an address that is none");
  const std::string scheme = SchemeOf(*to);
  if (scheme != "https" && !(scheme == "http" && SchemeOf(request.url) == "http"))
    return HttpProtocolError(request, absl::StrCat("redirects from https to ", scheme));
  if (!SameOrigin(request.url, *to)) request.bearer.clear();
  request.url = *to;
  return absl::OkStatus();
}

using HeaderList = std::unique_ptr<curl_slist, void (*)(curl_slist*)>;

HeaderList MakeHeaders(const std::vector<std::string>& lines) {
  HeaderList headers(nullptr, curl_slist_free_all);
  for (const std::string& line : lines)
    headers.reset(curl_slist_append(headers.release(), line.c_str()));
  return headers;
}

// curl_global_init is not thread-safe in older versions of curl.
CURL* NewHandle() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
  return curl_easy_init();
}

}  // namespace

const std::string& HttpResponse::Header(const std::string& lower_case_name) const {
  static const std::string* const kNone = new std::string;
  const auto it = headers.find(lower_case_name);
  return it == headers.end() ? *kNone : it->second;
}

// One request on the wire, and curl's callbacks.
struct HttpClient::Transfer {
  const HttpClient* client;
  const HttpRequest* request;
  BodySink* sink;
  CURL* curl;
  HttpResponse response;
  bool begun = false;
  int64_t sent = 0;     // of the request's part
  absl::Status status;  // why a callback ended it

  // Called for each line of the header, also of a proxy's answer to CONNECT.
  static size_t OnHeader(char* data, size_t, size_t size, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    const absl::string_view line(data, size);
    if (absl::StartsWith(line, "HTTP/")) {  // of the final answer, after a proxy's or a 100's
      transfer->response.headers.clear();
    } else if (const size_t colon = line.find(':'); colon != line.npos) {
      transfer->response.headers[absl::AsciiStrToLower(line.substr(0, colon))] =
          std::string(absl::StripAsciiWhitespace(line.substr(colon + 1)));
    }
    return size;
  }

  static size_t OnBody(char* data, size_t, size_t size, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    transfer->status = transfer->Take({data, size});
    return transfer->status.ok() ? size : CURL_WRITEFUNC_ERROR;
  }

  static size_t OnPart(char* buffer, size_t, size_t size, void* self) {
    auto* transfer = static_cast<Transfer*>(self);
    const auto read = transfer->Read(buffer, size);
    if (read.ok()) return *read;
    transfer->status = read.status();
    return CURL_READFUNC_ABORT;
  }

  // Called when the part has to be sent again, on another connection.
  static int OnSeek(void* self, curl_off_t offset, int) {
    static_cast<Transfer*>(self)->sent = offset;
    return CURL_SEEKFUNC_OK;
  }

  // Called about once a second while nothing comes, and more often with data.
  static int OnProgress(void* self, curl_off_t, curl_off_t, curl_off_t, curl_off_t) {
    return static_cast<Transfer*>(self)->client->cancelled() ? 1 : 0;
  }

  absl::Status Begin() {
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    response.status = static_cast<int>(status);
    begun = true;
    return ToSink() ? sink->Begin(response) : absl::OkStatus();
  }

  absl::StatusOr<size_t> Read(char* buffer, size_t size) {
    const FilePart& part = *request->part;
    size = static_cast<size_t>(std::min<int64_t>(static_cast<int64_t>(size), part.size - sent));
    if (size == 0) return size;
    const ssize_t got = pread(part.fd, buffer, size, part.first_byte + sent);
    if (got < 0) return ErrnoError(errno, "read a file that is sent");
    if (got == 0)
      return Error(Reason::kResultMissing,
                   "a file became shorter while it was sent; send it again");
    sent += got;
    if (part.sent) part.sent(sent);
    return static_cast<size_t>(got);
  }

  // Sets what is sent beside the header, and adds the lines of the header that go with it.
  void SetBody(std::vector<std::string>& lines) {
    if (request->body.has_value()) {
      lines.push_back("Content-Type: " + request->content_type);
      curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE_LARGE,
                       static_cast<curl_off_t>(request->body->size()));
      curl_easy_setopt(curl, CURLOPT_POSTFIELDS, request->body->c_str());
    } else if (request->part.has_value()) {
      curl_easy_setopt(curl, CURLOPT_UPLOAD, 1L);
      curl_easy_setopt(curl, CURLOPT_INFILESIZE_LARGE,
                       static_cast<curl_off_t>(request->part->size));
      curl_easy_setopt(curl, CURLOPT_UPLOAD_BUFFERSIZE, kBufferBytes);
      curl_easy_setopt(curl, CURLOPT_READFUNCTION, OnPart);
      curl_easy_setopt(curl, CURLOPT_READDATA, this);
      curl_easy_setopt(curl, CURLOPT_SEEKFUNCTION, OnSeek);
      curl_easy_setopt(curl, CURLOPT_SEEKDATA, this);
    } else {
      return;
    }
    // Without "Expect", for which curl would wait a second where a server does not know it.
    lines.emplace_back("Expect:");
  }

  // The body of an error is kept for the message, not given to the sink.
  bool ToSink() const { return sink != nullptr && response.status / 100 == 2; }

  absl::Status Take(std::string_view bytes) {
    if (!begun) FTD_RETURN_IF_ERROR(Begin());
    if (ToSink()) return sink->Data(bytes);
    if (response.body.size() + bytes.size() > kMostBody)
      return HttpProtocolError(*request, "sends more than an answer can have");
    response.body += bytes;
    return absl::OkStatus();
  }
};

HttpClient::HttpClient(std::function<bool()> cancelled)
    : cancelled_(std::move(cancelled)), curl_(NewHandle(), curl_easy_cleanup) {}

HttpClient::~HttpClient() = default;

absl::StatusOr<HttpResponse> HttpClient::Get(const HttpRequest& request, BodySink* sink) {
  return Follow(request, sink, IsRedirect);
}

absl::StatusOr<HttpResponse> HttpClient::Send(const HttpRequest& request) {
  return Follow(request, nullptr, KeepsBody);
}

absl::StatusOr<HttpResponse> HttpClient::Follow(const HttpRequest& request, BodySink* sink,
                                                bool (*is_redirect)(int status)) {
  // Redirects are followed here and not by curl, which would decide about the token by itself.
  HttpRequest next = request;
  for (int redirects = 0; redirects <= kMostRedirects; ++redirects) {
    FTD_ASSIGN_OR_RETURN(HttpResponse response, Perform(next, sink));
    if (!is_redirect(response.status) || response.Header("location").empty()) return response;
    FTD_RETURN_IF_ERROR(PointAtTarget(response, next));
  }
  return HttpProtocolError(request, "redirects without end");
}

absl::StatusOr<HttpResponse> HttpClient::Perform(const HttpRequest& request, BodySink* sink) {
  CURL* curl = curl_.get();
  curl_easy_reset(curl);  // keeps the connections
  Transfer transfer{this, &request, sink, curl, {}, false, 0, {}};
  std::vector<std::string> lines;
  if (!request.bearer.empty()) lines.push_back("Authorization: Bearer " + request.bearer);
  transfer.SetBody(lines);
  if (!request.accept.empty()) lines.push_back("Accept: " + request.accept);
  const HeaderList headers = MakeHeaders(lines);
  curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers.get());
  // Proxies come from the environment, as curl reads it.
  curl_easy_setopt(curl, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(curl, CURLOPT_USERAGENT, "ftd");
  curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(curl, CURLOPT_BUFFERSIZE, kBufferBytes);
  curl_easy_setopt(curl, CURLOPT_CONNECTTIMEOUT_MS, kConnectTimeoutMs);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_LIMIT, 1L);
  curl_easy_setopt(curl, CURLOPT_LOW_SPEED_TIME,
                   static_cast<long>(absl::ToInt64Seconds(request.silence)));
  curl_easy_setopt(curl, CURLOPT_HEADERFUNCTION, Transfer::OnHeader);
  curl_easy_setopt(curl, CURLOPT_HEADERDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, Transfer::OnBody);
  curl_easy_setopt(curl, CURLOPT_WRITEDATA, &transfer);
  curl_easy_setopt(curl, CURLOPT_NOPROGRESS, 0L);
  curl_easy_setopt(curl, CURLOPT_XFERINFOFUNCTION, Transfer::OnProgress);
  curl_easy_setopt(curl, CURLOPT_XFERINFODATA, &transfer);
  // Not CURLOPT_RESUME_FROM, which treats a server's answer with the whole file as an error.
  const std::string range = absl::StrCat(request.first_byte, "-");
  if (request.first_byte > 0) curl_easy_setopt(curl, CURLOPT_RANGE, range.c_str());
  if (const char* authorities = std::getenv("SSL_CERT_FILE"); authorities != nullptr)
    curl_easy_setopt(curl, CURLOPT_CAINFO, authorities);
  char why[CURL_ERROR_SIZE] = "";
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, why);

  const CURLcode code = curl_easy_perform(curl);
  // `why` is gone after this call.
  curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, nullptr);
  if (!transfer.status.ok()) return transfer.status;
  if (code == CURLE_ABORTED_BY_CALLBACK) return absl::CancelledError("cancelled");
  if (code != CURLE_OK) {
    return Error(Reason::kHubUnreachable,
                 absl::StrCat(Shown(request), ": ", *why ? why : curl_easy_strerror(code)));
  }
  if (!transfer.begun) FTD_RETURN_IF_ERROR(transfer.Begin());
  return std::move(transfer.response);
}

absl::StatusOr<HttpResponse> HttpClient::Post(const std::string& url, const std::string& json) {
  return Perform({.url = url, .body = json, .path_is_secret = true}, nullptr);
}

// In pieces of 100 ms, because `cancelled` can only be polled.
absl::Status HttpClient::Sleep(absl::Duration time) const {
  using std::chrono::steady_clock;
  const auto end = steady_clock::now() + absl::ToChronoNanoseconds(time);
  while (!cancelled()) {
    const auto left = end - steady_clock::now();
    if (left.count() <= 0) return absl::OkStatus();
    std::this_thread::sleep_for(
        std::min<std::chrono::nanoseconds>(left, std::chrono::milliseconds(100)));
  }
  return absl::CancelledError("cancelled");
}

}  // namespace ftd::hub
