// Who makes a call: from what the kernel, a token or a certificate proves.
#pragma once

#include <grpcpp/server_context.h>
#include <sys/types.h>

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "lib/base/steady_clock.h"
#include "server/net/unix_listener.h"
#include "server/requests/caller.h"

namespace ftd {

// Thread-safe.
class Callers {
 public:
  // Members of `admin_group` (may be empty) are admins, as root and this process's user are.
  explicit Callers(std::string admin_group) : admin_group_(std::move(admin_group)) {}

  // `listeners`: all unix sockets; a call on none of them came over TCP.
  Caller Of(const grpc::CallbackServerContext& context,
            const std::vector<std::unique_ptr<UnixListener>>& listeners);

 private:
  Caller OfUser(uid_t uid);

  const std::string admin_group_;
  struct Known {
    Caller caller;
    Moment time;
  };
  absl::Mutex mutex_;
  std::map<uid_t, Known> known_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd
