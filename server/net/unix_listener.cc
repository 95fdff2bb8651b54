#include "server/net/unix_listener.h"

#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <system_error>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/host/left_descriptors.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// Shorter than sun_path: ParseListenAddress has checked it.
sockaddr_un AddressOf(const fs::path& path) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::strncpy(address.sun_path, path.c_str(), sizeof(address.sun_path) - 1);
  return address;
}

absl::StatusOr<Fd> NewSocket() {
  Fd fd(socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError(errno, "socket");
  return fd;
}

// Somebody listens. EAGAIN: and has a full backlog.
bool IsServed(const fs::path& path) {
  const auto probe = NewSocket();
  if (!probe.ok()) return true;  // for all that is known
  const sockaddr_un address = AddressOf(path);
  return connect(probe->get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0 ||
         errno == EAGAIN || errno == EINPROGRESS;
}

// Removes the socket file of a daemon that was killed: then a connection is refused.
absl::Status RemoveStale(const fs::path& path) {
  struct stat found;
  if (lstat(path.c_str(), &found) != 0) return absl::OkStatus();
  if (!S_ISSOCK(found.st_mode)) {
    return Error(
        Reason::kAddressInUse,
        absl::StrCat(path.string(), " exists and is not a socket; remove it, or listen elsewhere"));
  }
  if (IsHeldForLong([&] { return IsServed(path); })) {
    return Error(Reason::kAddressInUse, absl::StrCat("another process serves ", path.string(),
                                                     "; stop it, or listen elsewhere"));
  }
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    return ErrnoError(errno, "remove " + path.string());
  }
  return absl::OkStatus();
}

}  // namespace

UnixListener::UnixListener(fs::path path, std::unique_ptr<AcceptLoop> loop,
                           Connections& connections)
    : path_(std::move(path)), loop_(std::move(loop)), connections_(connections) {}

absl::StatusOr<std::unique_ptr<UnixListener>> UnixListener::Make(fs::path path, Fd socket,
                                                                 Connections& connections) {
  std::vector<Fd> sockets;
  sockets.push_back(std::move(socket));
  FTD_ASSIGN_OR_RETURN(auto loop, AcceptLoop::Create(std::move(sockets), connections));
  return std::unique_ptr<UnixListener>(
      new UnixListener(std::move(path), std::move(loop), connections));
}

absl::StatusOr<std::unique_ptr<UnixListener>> UnixListener::Bind(const fs::path& path,
                                                                 Connections& connections) {
  std::error_code ignored;  // bind tells what is wrong
  fs::create_directories(path.parent_path(), ignored);
  FTD_RETURN_IF_ERROR(RemoveStale(path));
  FTD_ASSIGN_OR_RETURN(Fd fd, NewSocket());
  const sockaddr_un address = AddressOf(path);
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return Error(Reason::kPathNotWritable, absl::StrCat("cannot listen on ", path.string(), ": ",
                                                        std::generic_category().message(errno)));
  }
  // Before listen nobody can connect, so the mode is never wider than this.
  if (chmod(path.c_str(), 0660) != 0) return ErrnoError(errno, "chmod " + path.string());
  if (listen(fd.get(), SOMAXCONN) != 0) return ErrnoError(errno, "listen on " + path.string());
  return Make(path, std::move(fd), connections);
}

absl::StatusOr<std::unique_ptr<UnixListener>> UnixListener::Adopt(Fd socket,
                                                                  Connections& connections) {
  return Make({}, std::move(socket), connections);
}

UnixListener::~UnixListener() { Stop(); }

void UnixListener::Start(absl::Duration patience, Handover handover) {
  greetings_ = std::make_unique<Greetings>(patience, std::move(handover));
  const auto arrived = [this](int /*socket*/, Fd connection) {
    // The kernel's word on the process that connected, as of that moment; a client cannot forge it.
    ucred credentials{};
    socklen_t size = sizeof(credentials);
    const int fd = connection.get();
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &credentials, &size) != 0) return;
    {
      const absl::MutexLock lock(&mutex_);
      users_[fd] = credentials.uid;
    }
    connections_.Add(fd, absl::StrCat("fd:", fd), absl::StrCat("uid ", credentials.uid));
    greetings_->Add(std::move(connection));
  };
  loop_->Start(arrived, greetings_.get());
}

// The file goes while the socket is still open, so a daemon that starts now cannot lose its own new
// file to this unlink.
void UnixListener::Stop() {
  if (loop_ == nullptr) return;
  loop_->Stop();
  if (!path_.empty()) unlink(path_.c_str());
  loop_.reset();
}

// gRPC names a connection that was handed over as descriptor "fd:N". The entry is replaced when the
// number is used again.
std::optional<uid_t> UnixListener::UserOf(const std::string& peer) const {
  int fd = -1;
  if (!absl::StartsWith(peer, "fd:") || !absl::SimpleAtoi(peer.substr(3), &fd)) return std::nullopt;
  absl::MutexLock lock(&mutex_);
  const auto user = users_.find(fd);
  if (user == users_.end()) return std::nullopt;
  return user->second;
}

}  // namespace ftd
