// The calls that manage who gets in over TCP.
#include "lib/base/error.h"
#include "server/api/fine_tuning_service.h"
#include "server/host/log.h"

namespace ftd {

// Refuses calls over TCP. With one token a caller could otherwise make others, which would outlive
// its revocation.
absl::Status FineTuningService::CheckLocal(const Context& context) const {
  if (parts_.is_local(context)) return absl::OkStatus();
  return Error(
      Reason::kNotOwner,
      "access tokens are managed on ftd's machine, over its unix socket, and not over TCP");
}

FineTuningService::Unary* FineTuningService::CreateToken(Context* context,
                                                         const v1::CreateTokenRequest* request,
                                                         v1::CreateTokenResponse* response) {
  return OnPool(context, [=, this]() -> absl::Status {
    FTD_RETURN_IF_ERROR(CheckLocal(*context));
    FTD_ASSIGN_OR_RETURN(*response->mutable_token(), parts_.tokens.Create(request->name()));
    // The log has the token's name, never the token.
    LogInfo("access token ", request->name(), " is made, for ", parts_.user_of(*context));
    return absl::OkStatus();
  });
}

FineTuningService::Unary* FineTuningService::ListTokens(Context* context,
                                                        const v1::ListTokensRequest*,
                                                        v1::ListTokensResponse* response) {
  return OnPool(context, [=, this]() -> absl::Status {
    FTD_RETURN_IF_ERROR(CheckLocal(*context));
    FTD_ASSIGN_OR_RETURN(const std::vector<std::string> names, parts_.tokens.Names());
    response->mutable_names()->Assign(names.begin(), names.end());
    return absl::OkStatus();
  });
}

FineTuningService::Unary* FineTuningService::RevokeToken(Context* context,
                                                         const v1::RevokeTokenRequest* request,
                                                         v1::RevokeTokenResponse*) {
  return OnPool(context, [=, this]() -> absl::Status {
    FTD_RETURN_IF_ERROR(CheckLocal(*context));
    FTD_RETURN_IF_ERROR(parts_.tokens.Revoke(request->name()));
    LogInfo("access token ", request->name(), " is revoked, by ", parts_.user_of(*context));
    return absl::OkStatus();
  });
}

}  // namespace ftd
