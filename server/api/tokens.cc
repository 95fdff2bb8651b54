// The calls that manage who gets in over TCP.
#include "lib/base/error.h"
#include "server/api/fine_tuning_service.h"
#include "server/host/log.h"

namespace ftd {
namespace {

// READ, SUBMIT and ADMIN are the roles in their order, from 1 on.
v1::AccessToken::Role ToWire(Role role) {
  return static_cast<v1::AccessToken::Role>(static_cast<int>(role) + v1::AccessToken::READ);
}

absl::StatusOr<Role> FromWire(v1::AccessToken::Role role) {
  if (role == v1::AccessToken::ROLE_UNSPECIFIED) return Role::kSubmit;
  if (v1::AccessToken::Role_IsValid(role))
    return static_cast<Role>(static_cast<int>(role) - v1::AccessToken::READ);
  return FieldError({{"role", "must be READ, SUBMIT or ADMIN"}});
}

}  // namespace

FineTuningService::Unary* FineTuningService::CreateToken(Context* context,
                                                         const v1::CreateTokenRequest* request,
                                                         v1::CreateTokenResponse* response) {
  return OnPool(context, {"CreateToken", ""},
                [=, this](const Caller& caller, const auto&) -> absl::Status {
                  FTD_ASSIGN_OR_RETURN(const Role role, FromWire(request->role()));
                  FTD_ASSIGN_OR_RETURN(*response->mutable_token(),
                                       parts_.tokens.Create(request->name(), role));
                  // The log has the token's name, never the token.
                  LogInfo("access token ", request->name(), " is made, role ", RoleName(role),
                          ", for ", caller.owner);
                  return absl::OkStatus();
                });
}

FineTuningService::Unary* FineTuningService::ListTokens(Context* context,
                                                        const v1::ListTokensRequest*,
                                                        v1::ListTokensResponse* response) {
  return OnPool(context, {"ListTokens", ""}, [=, this](const auto&, const auto&) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(const std::vector<AccessToken> tokens, parts_.tokens.Tokens());
    for (const AccessToken& token : tokens) {
      response->add_names(token.name);
      v1::AccessToken& wire = *response->add_tokens();
      wire.set_name(token.name);
      wire.set_role(ToWire(token.role));
    }
    return absl::OkStatus();
  });
}

FineTuningService::Unary* FineTuningService::RevokeToken(Context* context,
                                                         const v1::RevokeTokenRequest* request,
                                                         v1::RevokeTokenResponse*) {
  return OnPool(context, {"RevokeToken", ""},
                [=, this](const Caller& caller, const auto&) -> absl::Status {
                  FTD_RETURN_IF_ERROR(parts_.tokens.Revoke(request->name()));
                  LogInfo("access token ", request->name(), " is revoked, by ", caller.owner);
                  return absl::OkStatus();
                });
}

}  // namespace ftd
