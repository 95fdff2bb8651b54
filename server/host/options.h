// The daemon's settings. Where each comes from, strongest first: a flag, an FTD_* environment
// variable, the configuration file (TOML), the built-in default.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd {

// A field's key in TOML is its name here; its flag is --name with dashes, its variable FTD_NAME.
// Lists are separated by commas in flags and variables.
struct Options {
  // Where jobs, uploads and results live. Default: $STATE_DIRECTORY, else $XDG_STATE_HOME/ftd, else
  // ~/.local/state/ftd.
  std::string state_dir;
  // Addresses to serve on: unix:PATH, or HOST:PORT: with TLS, or, without tls_cert, in plaintext on
  // loopback. Port 7443 is the custom. Default:
  // $RUNTIME_DIRECTORY/ftd.sock, else $XDG_RUNTIME_DIR/ftd/ftd.sock, else /run/ftd/ftd.sock; none
  // where the service manager passes sockets ($LISTEN_FDS), which are served in any case.
  std::vector<std::string> listen;
  // Certificate (PEM, with its chain) and key (PEM) of TLS on HOST:PORT. Read again when they
  // change. Default: none, no TLS.
  std::string tls_cert;
  std::string tls_key;
  // Authority (PEM) whose certificates let clients in. Read again when it changes. Default: none,
  // clients need a token.
  std::string tls_client_ca;
  // Digests of the tokens that let clients in over TLS (access_tokens.h). Read again when it
  // changes. Default: access-tokens in the state directory.
  std::string token_file;
  // Where /metrics is served: HOST:PORT (port 0: any free one) or off. The default, 127.0.0.1:7444,
  // is given up with a warning when the port is taken; an address that was asked for is not.
  std::string metrics_listen;
  // Program that runs an attempt. Default: ft-worker beside ftd.
  std::string worker;
  // Folders whose files a job may name as server_path. Default: none, so that data comes by upload.
  std::vector<std::string> dataset_roots;
  // Folders whose models and adapters callers over TCP may name by path; a user of the unix socket
  // may name what that user can read. Default: none.
  std::vector<std::string> model_roots;
  // Local group whose members may change everybody's jobs, as root and ftd's own user may. Default:
  // none.
  std::string admin_group;
  // Who sees a job, its logs, steps and results: words of kVisibilityWords. "owner": its owner and
  // admins.
  std::string visibility = "group";
  // What callers with a client certificate may do: words of kRoleWords.
  std::string certificate_role = "submit";
  // Jobs that may wait. More are refused.
  int64_t max_queued = 1000;
  // What one owner, who is not an admin, may have at once: jobs that wait (0: half of max_queued),
  // streams that are open, MiB in uploads, and MiB in checkpoints and results of its jobs (0: any
  // number).
  int64_t max_queued_per_owner = 0;
  int64_t max_streams_per_owner = 256;
  int64_t max_upload_mib_per_owner = 0;
  int64_t max_stored_mib_per_owner = 0;
  // An upload on which nothing comes for this many seconds ends.
  int64_t upload_idle_seconds = 60;
  // Days for which files are kept after the job that they belong to has ended, -1: always: the last
  // checkpoint (the others go at once), logs and steps, uploads (after the last job that read
  // them), results. And MiB that all results may take before the oldest go; 0: any number.
  int64_t retention_checkpoint_days = 7;
  int64_t retention_log_days = -1;
  int64_t retention_upload_days = 7;
  int64_t retention_result_days = -1;
  int64_t retention_result_mib = 0;
  // Seconds between two times that ftd removes by itself what is not to be kept.
  int64_t retention_interval_seconds = 3600;
  // Seconds that a worker has for its last checkpoint when the daemon is stopped.
  int64_t stop_grace_seconds = 60;
  // A worker whose heartbeat and logs stand still for this many seconds is taken for hung and
  // killed; 0: never.
  int64_t hang_seconds = 1800;
  // What the device does at most in the dtype that jobs train in, TFLOP/s: what their MFU is
  // measured against. 0: what is known of its model; nothing is of a CPU.
  double peak_tflops = 0;
  // What jobs must leave free of the host's memory, MiB: a worker that sees less saves and stops,
  // at less than half it ends at once. 0: no limit. -1: 8192 where the GPU shares the host's
  // memory, else 0.
  int64_t host_memory_reserve_mib = -1;
  // What jobs may have of the device's memory, MiB: a job that needs more at least is refused. 0:
  // what the device has.
  int64_t device_memory_mib = 0;
  // Models that may be loaded at once to answer, each by a worker of its own, and seconds after
  // which one that nobody has asked ends.
  int64_t generate_models = 2;
  int64_t generate_idle_seconds = 300;
  // How the log's lines look, and the least level that is written: words of kLogFormats and
  // kLogLevels (log.h).
  std::string log_format = "text";
  std::string log_level = "info";
  // What is run by /bin/sh, with the job as JSON on stdin, when a job has ended; and the http(s)
  // address that the JSON is sent to by POST. Default: none.
  std::string notify_command;
  std::string notify_url;
  // Names for model directories or hub repositories: `[models]` in TOML only. They go before the
  // built-in ones (lib/spec/aliases.h).
  std::map<std::string, std::string> models;
};

inline constexpr char kDefaultMetricsListen[] = "127.0.0.1:7444";

// Settings by key, as text: how flags and variables come in.
using Settings = std::map<std::string, std::string>;

// The keys of Options but `models`, each with one line of help.
struct OptionHelp {
  const char* key;
  const char* type;  // of its value, for the help
  const char* help;
  bool repeatable;
};
const std::vector<OptionHelp>& OptionKeys();

// Puts the sources together and fills in the defaults. `config_file` empty:
// $XDG_CONFIG_HOME/ftd/ftd.toml, else /etc/ftd/ftd.toml, else none. INVALID_ARGUMENT CONFIG_INVALID
// naming source and key: an unknown key (with the nearest known one), a value of the wrong type or
// out of range, an address that is not served (plaintext off loopback).
absl::StatusOr<Options> LoadOptions(const Settings& flags, const Settings& environment,
                                    const std::filesystem::path& config_file);

// FTD_* variables of this process that name an option, by key.
Settings EnvironmentSettings();

// The options as a TOML file that LoadOptions takes back.
std::string OptionsToToml(const Options& options);

}  // namespace ftd
