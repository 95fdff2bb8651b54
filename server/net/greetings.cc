#include "server/net/greetings.h"

#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <string_view>
#include <utility>

namespace ftd {
namespace {

// RFC 9113, 3.4: a fixed text, then a SETTINGS frame, whose first three bytes are its length.
constexpr std::string_view kPreface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
constexpr size_t kFrameHeader = 9;
constexpr size_t kMostGreetingBytes = 1024;  // clients have a dozen settings of six bytes each

enum class Progress { kNothing, kBegun, kComplete, kEnded };

// Returns how far the greeting is. What is not HTTP/2 counts as complete: gRPC refuses it.
Progress LookAt(int fd) {
  std::array<char, kMostGreetingBytes> buffer;
  const ssize_t count = recv(fd, buffer.data(), buffer.size(), MSG_PEEK | MSG_DONTWAIT);
  if (count < 0 && (errno == EAGAIN || errno == EINTR)) return Progress::kNothing;
  if (count <= 0) return Progress::kEnded;
  const std::string_view peeked(buffer.data(), static_cast<size_t>(count));
  const size_t common = std::min(peeked.size(), kPreface.size());
  if (peeked.substr(0, common) != kPreface.substr(0, common)) return Progress::kComplete;
  size_t whole = kPreface.size() + kFrameHeader;
  if (peeked.size() < whole) return Progress::kBegun;
  size_t settings = 0;
  for (size_t i = 0; i < 3; ++i)
    settings = settings << 8 | static_cast<unsigned char>(peeked[kPreface.size() + i]);
  whole += settings;
  if (whole > kMostGreetingBytes) return Progress::kEnded;
  return peeked.size() < whole ? Progress::kBegun : Progress::kComplete;
}

}  // namespace

void Greetings::Add(Fd connection) {
  Wait({.fd = std::move(connection), .due = SteadyNow() + patience_});  // most have sent theirs
}

// One with part of its greeting is readable all the time, so poll looks for its end alone.
void Greetings::AddTo(std::vector<pollfd>& polled) const {
  for (const Connection& one : waiting_) {
    const auto events = static_cast<short>(one.begun ? 0 : POLLIN);
    polled.push_back({.fd = one.fd.get(), .events = events});
  }
}

void Greetings::Look() {
  for (Connection& one : std::exchange(waiting_, {})) Wait(std::move(one));
}

void Greetings::Wait(Connection one) {
  const Progress progress = LookAt(one.fd.get());
  if (progress == Progress::kComplete) return handover_(std::move(one.fd));
  if (progress == Progress::kEnded || SteadyNow() >= one.due) return;
  one.begun = progress == Progress::kBegun;
  waiting_.push_back(std::move(one));
}

}  // namespace ftd
