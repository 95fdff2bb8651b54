// Resolves a model's name: to a directory on this machine, or to a repository of the hub.
#pragma once

#include <filesystem>
#include <map>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "lib/hub/find_revision.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"

namespace ftd {

struct FoundModel {
  std::filesystem::path dir;  // where its files are, or will be once they are fetched
  std::string name;           // as the resolved spec has it: the repository instead of its alias
  std::string revision;       // of a repository: the commit
  // Of a repository: its files at that commit. Empty files: the hub could not be asked, the cache
  // has to do.
  std::optional<hub::RepoRevision> source;
  bool is_complete = true;     // all files are there
  bool is_configured = false;  // a directory that the configuration names, for everybody
};

// Thread-safe.
class ModelFinder {
 public:
  // `aliases`: name to absolute directory or repository; they go before the built-in ones.
  ModelFinder(std::map<std::string, std::string> aliases, HubWarning warn);

  const std::map<std::string, std::string>& aliases() const { return aliases_; }

  // Of a repository this asks the hub what `revision` (empty: main) stands for, and fetches what is
  // small: configuration and tokenizer. So whatever keeps a user from a model shows here. Offline,
  // or when the hub does not answer, the cache is used as it is. Errors: NOT_FOUND MODEL_NOT_FOUND,
  // FAILED_PRECONDITION MODEL_GATED, MODEL_UNSUPPORTED, HUB_OFFLINE, UNAUTHENTICATED TOKEN_INVALID,
  // UNAVAILABLE HUB_UNREACHABLE, RESOURCE_EXHAUSTED DISK_FULL.
  absl::StatusOr<FoundModel> Find(const std::string& model, const std::string& revision) const;

  // Returns whether Find asks the hub for that name.
  bool IsOnHub(const std::string& model) const;

  // Returns the repository of an alias or OWNER/NAME. NOT_FOUND MODEL_NOT_FOUND when it is neither.
  absl::StatusOr<hub::RepoId> FindRepo(const std::string& model) const;

  // The answer for a model that is not there: NOT_FOUND MODEL_NOT_FOUND, with the aliases.
  absl::Status Unknown(const std::string& model) const;

 private:
  const std::map<std::string, std::string> aliases_;
  const HubWarning warn_;
};

}  // namespace ftd
