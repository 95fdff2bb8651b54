// What a caller may do at most, whoever owns the job, and whose jobs it sees.
#pragma once

#include <cstddef>
#include <initializer_list>
#include <optional>
#include <string_view>

namespace ftd {

// In ascending order: each may what those before it may.
enum class Role {
  kRead,    // look
  kSubmit,  // submit jobs, and change its own
  kAdmin,   // change the jobs of all, the models in the cache, and, on this machine, the tokens
};

inline constexpr const char* kRoleWords[] = {"read", "submit", "admin"};

constexpr const char* RoleName(Role role) { return kRoleWords[static_cast<size_t>(role)]; }

constexpr std::optional<Role> RoleNamed(std::string_view name) {
  for (const Role role : {Role::kRead, Role::kSubmit, Role::kAdmin})
    if (name == RoleName(role)) return role;
  return std::nullopt;
}

// Whose jobs a caller sees beside its own.
enum class Visibility {
  kGroup,  // those of all who may call
  kOwner,  // nobody's: they are not listed, and named they do not exist. Admins see all.
};

inline constexpr const char* kVisibilityWords[] = {"group", "owner"};

}  // namespace ftd
