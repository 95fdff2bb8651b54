#include "lib/base/unix_socket.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// An address that holds while `dir` is open.
struct Address {
  Fd dir;
  std::string name;
  sockaddr_un bytes{};

  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&bytes); }
};

absl::StatusOr<Address> AddressOf(const std::filesystem::path& socket) {
  Address address;
  FTD_ASSIGN_OR_RETURN(address.dir, OpenFile(socket.parent_path(), O_PATH | O_DIRECTORY));
  address.name = socket.filename().string();
  address.bytes.sun_family = AF_UNIX;
  const int length = std::snprintf(address.bytes.sun_path, sizeof(address.bytes.sun_path),
                                   "/proc/self/fd/%d/%s", address.dir.get(), address.name.c_str());
  if (length >= static_cast<int>(sizeof(address.bytes.sun_path)))
    return absl::InvalidArgumentError(
        absl::StrCat(address.name, ": the socket's name is too long"));
  return address;
}

absl::StatusOr<Fd> NewSocket(int type) {
  Fd fd(::socket(AF_UNIX, type | SOCK_CLOEXEC, 0));
  if (!fd.valid()) return ErrnoError(errno, "socket");
  return fd;
}

}  // namespace

absl::StatusOr<Fd> ListenOn(const std::filesystem::path& socket, int type, int backlog) {
  FTD_ASSIGN_OR_RETURN(const Address address, AddressOf(socket));
  FTD_ASSIGN_OR_RETURN(Fd listener, NewSocket(type));
  ::unlinkat(address.dir.get(), address.name.c_str(), 0);
  if (::bind(listener.get(), address.get(), sizeof(address.bytes)) != 0 ||
      ::listen(listener.get(), backlog) != 0)
    return ErrnoError(errno, absl::StrCat("listen on ", socket.string()));
  return listener;
}

absl::StatusOr<Fd> ConnectTo(const std::filesystem::path& socket, int type) {
  FTD_ASSIGN_OR_RETURN(const Address address, AddressOf(socket));
  FTD_ASSIGN_OR_RETURN(Fd fd, NewSocket(type));
  if (::connect(fd.get(), address.get(), sizeof(address.bytes)) == 0) return fd;
  return absl::UnavailableError(std::generic_category().message(errno));
}

}  // namespace ftd
