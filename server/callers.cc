#include "server/callers.h"

#include <unistd.h>

#include "lib/base/user.h"
#include "server/net/tls.h"

namespace ftd {
namespace {

// The machine's user database may be a server elsewhere, which every call would ask otherwise.
constexpr absl::Duration kRemembered = absl::Seconds(10);

// Of those who reach a plaintext port. They are not told apart, so they own their jobs together.
constexpr char kAnonymous[] = "tcp:anonymous";

}  // namespace

Caller Callers::OfUser(uid_t uid) {
  const Moment now = SteadyNow();
  {
    const absl::MutexLock lock(&mutex_);
    const auto known = known_.find(uid);
    if (known != known_.end() && now - known->second.time < kRemembered)
      return known->second.caller;
  }
  // Root and the user that ftd runs as can change its files anyway.
  const bool is_admin = uid == 0 || uid == geteuid() ||
                        (!admin_group_.empty() && IsMember(FindUser(uid), admin_group_));
  const Caller caller{
      .owner = UserName(uid), .uid = uid, .role = is_admin ? Role::kAdmin : Role::kSubmit};
  const absl::MutexLock lock(&mutex_);
  known_[uid] = {caller, now};
  return caller;
}

Caller Callers::Of(const grpc::CallbackServerContext& context,
                   const std::vector<std::unique_ptr<UnixListener>>& listeners) {
  for (const auto& listener : listeners) {
    if (const auto uid = listener->UserOf(context.peer())) return OfUser(*uid);
  }
  const auto& proof = *context.auth_context();
  const std::string name = CallerName(proof);
  if (!name.empty()) return {.owner = name, .uid = std::nullopt, .role = CallerRole(proof)};
  return {.owner = kAnonymous, .uid = std::nullopt, .role = Role::kSubmit};
}

}  // namespace ftd
