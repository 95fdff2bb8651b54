#include "server/host/options.h"

#include <algorithm>
#include <cctype>
#include <sstream>

#include <toml++/toml.h>

#include "absl/strings/ascii.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "absl/types/span.h"
#include "lib/base/error.h"
#include "lib/base/nearest.h"
#include "lib/base/utf8.h"
#include "lib/hub/transport/settings.h"
#include "lib/spec/repo_name.h"
#include "server/host/default_paths.h"
#include "server/host/listen_address.h"
#include "server/host/log.h"
#include "server/host/role.h"
#include "server/host/service_manager.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

absl::Status BadOption(const std::string& source, const std::string& message) {
  return Error(Reason::kConfigInvalid, absl::StatusCode::kInvalidArgument,
               absl::StrCat(source, ": ", message));
}

absl::Status CheckWord(const std::string& key, const std::string& value,
                       absl::Span<const char* const> words) {
  for (const char* word : words)
    if (value == word) return absl::OkStatus();
  return BadOption(key,
                   absl::StrCat("must be one of ", absl::StrJoin(words, ", "), "; got ", value));
}

// One option: how its text is read into Options. Exactly one of the pointers to members is set,
// which gives the kind.
struct Option {
  const char* key;
  const char* type;
  const char* help;
  std::string Options::*text = nullptr;
  std::vector<std::string> Options::*list = nullptr;
  int64_t Options::*number = nullptr;
  double Options::*real = nullptr;
  int64_t least = 0;
  int64_t greatest = 0;
};

constexpr Option kOptionTable[] = {
    {.key = "state_dir",
     .type = "DIR",
     .help = "Where jobs, uploads and results live. Default: $STATE_DIRECTORY, else the XDG state "
             "directory. Change it to use another disk.",
     .text = &Options::state_dir},
    {.key = "listen",
     .type = "ADDRESS",
     .help = "unix:PATH or HOST:PORT, off loopback with TLS only; may be repeated. Default: "
             "ftd.sock in "
             "$RUNTIME_DIRECTORY, else in $XDG_RUNTIME_DIR/ftd, else in /run/ftd; none where the "
             "service "
             "manager passes sockets.",
     .list = &Options::listen},
    {.key = "tls_cert",
     .type = "FILE",
     .help = "Certificate (PEM, with its chain) for TLS 1.3 on HOST:PORT. Default: none, no TLS.",
     .text = &Options::tls_cert},
    {.key = "tls_key",
     .type = "FILE",
     .help = "Its key (PEM). Goes with --tls-cert.",
     .text = &Options::tls_key},
    {.key = "tls_client_ca",
     .type = "FILE",
     .help = "Authority (PEM) whose certificates let clients in over TLS. Default: none, clients "
             "need a token.",
     .text = &Options::tls_client_ca},
    {.key = "token_file",
     .type = "FILE",
     .help = "SHA-256 and name of each token that lets clients in over TLS. Default: "
             "access-tokens in the state directory.",
     .text = &Options::token_file},
    {.key = "metrics_listen",
     .type = "HOST:PORT",
     .help = "Where /metrics is served (port 0: any free one), or off. Default: 127.0.0.1:7444.",
     .text = &Options::metrics_listen},
    {.key = "worker",
     .type = "PROGRAM",
     .help = "Program that runs an attempt. Default: ft-worker beside ftd.",
     .text = &Options::worker},
    {.key = "dataset_roots",
     .type = "DIR",
     .help = "Folder whose files a job may name instead of uploading them; may be repeated. "
             "Default: none.",
     .list = &Options::dataset_roots},
    {.key = "model_roots",
     .type = "DIR",
     .help = "Folder whose models and adapters may be named by path over TCP; may be repeated. "
             "Users of the unix socket may name what they can read. Default: none.",
     .list = &Options::model_roots},
    {.key = "admin_group",
     .type = "GROUP",
     .help = "Local group whose members may change everybody's jobs. Default: none; root and ftd's "
             "own user may.",
     .text = &Options::admin_group},
    {.key = "visibility",
     .type = "WHO",
     .help = "Who sees a job, its logs and results: group, all who may call, or owner, its owner "
             "and admins. Default: group.",
     .text = &Options::visibility},
    {.key = "certificate_role",
     .type = "ROLE",
     .help = "What callers with a client certificate may do: read, submit or admin. Default: "
             "submit.",
     .text = &Options::certificate_role},
    {.key = "max_queued",
     .type = "N",
     .help = "Jobs that may wait; more are refused. Default: 1000.",
     .number = &Options::max_queued,
     .least = 1,
     .greatest = 1000000},
    {.key = "max_queued_per_owner",
     .type = "N",
     .help =
         "Jobs of one owner that may wait; admins are not limited. Default: 0, which is half of "
         "max_queued.",
     .number = &Options::max_queued_per_owner,
     .least = 0,
     .greatest = 1000000},
    {.key = "max_streams_per_owner",
     .type = "N",
     .help = "Streams that one owner may have open, such as watches; admins are not limited. "
             "Default: 256.",
     .number = &Options::max_streams_per_owner,
     .least = 1,
     .greatest = 1000000},
    {.key = "max_upload_mib_per_owner",
     .type = "MIB",
     .help = "What one owner may have in uploads, before more are refused; admins are not limited. "
             "Default: 0, any.",
     .number = &Options::max_upload_mib_per_owner,
     .least = 0,
     .greatest = 1 << 30},
    {.key = "max_stored_mib_per_owner",
     .type = "MIB",
     .help =
         "What the checkpoints, logs and results of one owner's jobs may take, before more jobs "
         "are refused; admins are not limited. Default: 0, any.",
     .number = &Options::max_stored_mib_per_owner,
     .least = 0,
     .greatest = 1 << 30},
    {.key = "upload_idle_seconds",
     .type = "S",
     .help = "An upload on which nothing comes for so long ends. Default: 60. Raise it for clients "
             "that pause.",
     .number = &Options::upload_idle_seconds,
     .least = 1,
     .greatest = 86400},
    {.key = "retention_checkpoint_days",
     .type = "DAYS",
     .help = "How long the last checkpoint of a job that has ended is kept; its others go soon "
             "after the "
             "end. -1: all of them, always. Default: 7.",
     .number = &Options::retention_checkpoint_days,
     .least = -1,
     .greatest = 36500},
    {.key = "retention_log_days",
     .type = "DAYS",
     .help = "How long the logs and steps of a job that has ended are kept. Default: -1, always.",
     .number = &Options::retention_log_days,
     .least = -1,
     .greatest = 36500},
    {.key = "retention_upload_days",
     .type = "DAYS",
     .help = "How long an upload is kept after the last job that read it has ended. -1: always. "
             "Default: 7.",
     .number = &Options::retention_upload_days,
     .least = -1,
     .greatest = 36500},
    {.key = "retention_result_days",
     .type = "DAYS",
     .help = "How long a result is kept after its job has ended. Default: -1, always.",
     .number = &Options::retention_result_days,
     .least = -1,
     .greatest = 36500},
    {.key = "retention_result_mib",
     .type = "MIB",
     .help = "What all results may take together before the oldest ones go. Default: 0, any.",
     .number = &Options::retention_result_mib,
     .least = 0,
     .greatest = 1 << 30},
    {.key = "retention_interval_seconds",
     .type = "S",
     .help = "How often ftd removes by itself what is not to be kept. Default: 3600.",
     .number = &Options::retention_interval_seconds,
     .least = 1,
     .greatest = 604800},
    {.key = "stop_grace_seconds",
     .type = "S",
     .help = "Time for the last checkpoint when ftd is stopped. Default: 60. Raise it for big "
             "models on slow disks.",
     .number = &Options::stop_grace_seconds,
     .least = 0,
     .greatest = 86400},
    {.key = "hang_seconds",
     .type = "S",
     .help = "A worker that gives no sign of life for so long is killed; 0: never. Default: 1800.",
     .number = &Options::hang_seconds,
     .least = 0,
     .greatest = 604800},
    {.key = "peak_tflops",
     .type = "TFLOPS",
     .help = "What the device does at most in the dtype of the jobs, for their MFU. Default: by "
             "the GPU's model; unknown for a CPU.",
     .real = &Options::peak_tflops,
     .least = 0,
     .greatest = 1000000},
    {.key = "host_memory_reserve_mib",
     .type = "MIB",
     .help = "A job saves and stops when the host has less memory left; 0: never. Default: -1, "
             "which is 8192 where the GPU shares the host's memory, else 0.",
     .number = &Options::host_memory_reserve_mib,
     .least = -1,
     .greatest = 1 << 30},
    {.key = "device_memory_mib",
     .type = "MIB",
     .help = "What jobs may have of the device's memory: one that needs more at least is refused. "
             "Default: 0, what the device has.",
     .number = &Options::device_memory_mib,
     .least = 0,
     .greatest = 1 << 30},
    {.key = "generate_models",
     .type = "N",
     .help =
         "Models that may be loaded at once to answer (ftctl generate, ftctl chat). Default: 2.",
     .number = &Options::generate_models,
     .least = 1,
     .greatest = 64},
    {.key = "generate_idle_seconds",
     .type = "S",
     .help = "How long a model stays loaded after its last answer. Default: 300.",
     .number = &Options::generate_idle_seconds,
     .least = 1,
     .greatest = 86400},
    {.key = "log_format",
     .type = "FORMAT",
     .help = "How lines of the log look: text, logfmt or json. Default: text.",
     .text = &Options::log_format},
    {.key = "log_level",
     .type = "LEVEL",
     .help = "The least level that is logged: info, warning or error. Default: info.",
     .text = &Options::log_level},
    {.key = "notify_command",
     .type = "COMMAND",
     .help = "What /bin/sh runs when a job has ended, with the job as JSON on stdin. Tried again "
             "for a day when it fails. Default: none.",
     .text = &Options::notify_command},
    {.key = "notify_url",
     .type = "URL",
     .help = "The http or https address that the same JSON is posted to. Default: none.",
     .text = &Options::notify_url},
};

const Option* Find(const std::string& key) {
  for (const Option& option : kOptionTable) {
    if (key == option.key) return &option;
  }
  return nullptr;
}

// A misspelt key must not silently leave the default in place.
absl::Status UnknownKey(const std::string& source, const std::string& key) {
  std::vector<std::string> known = {"models"};
  for (const Option& option : kOptionTable) known.emplace_back(option.key);
  const std::string nearest = Nearest(key, known);
  return BadOption(
      source, absl::StrCat("unknown key \"", key, "\"",
                           nearest.empty() ? "; ftd --print-config shows all"
                                           : absl::StrCat("; did you mean \"", nearest, "\"?")));
}

template <typename Number>
// The limits of a row are integers, for both kinds of numbers.
absl::Status SetNumber(Options& options, const Option& option, Number Options::*member,
                       Number value, const std::string& source) {
  // Written so that NaN fails.
  if (value >= static_cast<Number>(option.least) && value <= static_cast<Number>(option.greatest)) {
    options.*member = value;
    return absl::OkStatus();
  }
  return BadOption(source, absl::StrCat(option.key, " must be ", option.least, " to ",
                                        option.greatest, "; got ", value));
}

absl::Status SetFromText(Options& options, const Option& option, const std::string& value,
                         const std::string& source) {
  if (option.text != nullptr) {
    options.*option.text = value;
  } else if (option.list != nullptr) {
    // In the environment and in flags a list is one text with commas.
    options.*option.list = absl::StrSplit(value, ',', absl::SkipEmpty());
  } else if (option.real != nullptr) {
    double number = 0;
    if (!absl::SimpleAtod(value, &number)) {
      return BadOption(source, absl::StrCat(option.key, " must be a number; got \"", value, "\""));
    }
    return SetNumber(options, option, option.real, number, source);
  } else {
    int64_t number = 0;
    if (!absl::SimpleAtoi(value, &number)) {
      return BadOption(source,
                       absl::StrCat(option.key, " must be a whole number; got \"", value, "\""));
    }
    return SetNumber(options, option, option.number, number, source);
  }
  return absl::OkStatus();
}

// A single string is a list of one.
absl::Status SetList(Options& options, const Option& option, const toml::node& node,
                     const std::string& source) {
  std::vector<std::string> values;
  if (const auto one = node.value_exact<std::string>()) values.push_back(*one);
  if (const toml::array* array = node.as_array()) {
    for (const toml::node& element : *array) {
      const auto text = element.value_exact<std::string>();
      if (!text) return BadOption(source, absl::StrCat(option.key, " must be a list of strings"));
      values.push_back(*text);
    }
  } else if (values.empty()) {
    return BadOption(source, absl::StrCat(option.key, " must be a string or a list of strings"));
  }
  options.*option.list = std::move(values);
  return absl::OkStatus();
}

// The types are strict: max_queued = "10" or 10.5 is an error.
absl::Status SetFromToml(Options& options, const Option& option, const toml::node& node,
                         const std::string& source) {
  if (option.list != nullptr) return SetList(options, option, node, source);
  if (option.text != nullptr) {
    const auto text = node.value_exact<std::string>();
    if (!text) return BadOption(source, absl::StrCat(option.key, " must be a string"));
    options.*option.text = *text;
    return absl::OkStatus();
  }
  if (option.real != nullptr) {
    if (!node.is_number()) return BadOption(source, absl::StrCat(option.key, " must be a number"));
    return SetNumber(options, option, option.real, *node.value<double>(), source);
  }
  const auto number = node.value_exact<int64_t>();
  if (!number) return BadOption(source, absl::StrCat(option.key, " must be a whole number"));
  return SetNumber(options, option, option.number, *number, source);
}

// [models] maps the users' names to directories or repositories.
absl::Status ReadModels(Options& options, const toml::node& node, const std::string& source) {
  const toml::table* table = node.as_table();
  if (table == nullptr)
    return BadOption(source, "models must be a table of name = \"directory or repository\"");
  for (const auto& [key, value] : *table) {
    const auto path = value.value_exact<std::string>();
    if (!path || (!fs::path(*path).is_absolute() && !hub::IsRepoName(*path))) {
      return BadOption(
          source,
          absl::StrCat("models.", std::string(key.str()),
                       " must be the absolute path of a directory, or OWNER/NAME on the hub"));
    }
    options.models[std::string(key.str())] = *path;
  }
  return absl::OkStatus();
}

absl::Status ReadFileInto(Options& options, const fs::path& path) {
  // toml++ throws parse_error; ReadConfigFile catches it.
  const toml::parse_result parsed = [&] { return toml::parse_file(path.string()); }();
  for (const auto& [key, value] : parsed) {
    const std::string name(key.str());
    const std::string source = absl::StrCat(path.string(), " line ", value.source().begin.line);
    const Option* option = Find(name);
    if (name == "models") {
      FTD_RETURN_IF_ERROR(ReadModels(options, value, source));
    } else if (option == nullptr) {
      return UnknownKey(source, name);
    } else {
      FTD_RETURN_IF_ERROR(SetFromToml(options, *option, value, source));
    }
  }
  return absl::OkStatus();
}

absl::Status ReadConfigFile(Options& options, const fs::path& path) {
  try {
    return ReadFileInto(options, path);
  } catch (const toml::parse_error& error) {
    return BadOption(absl::StrCat(path.string(), " line ", error.source().begin.line),
                     std::string(error.description()));
  }
}

// Flags are UTF-8 and so is a file of TOML, but a variable may hold any bytes, which would come
// back in answers, in addresses.json and in what a worker is asked to do.
absl::Status CheckTexts(const Options& options) {
  for (const Option& option : kOptionTable) {
    std::vector<std::string> texts;
    if (option.text != nullptr) texts = {options.*option.text};
    if (option.list != nullptr) texts = options.*option.list;
    for (const std::string& text : texts)
      if (!IsValidUtf8(text))
        return BadOption(option.key, "is not UTF-8: " + EscapeInvalidUtf8(text));
  }
  const std::string cache = hub::SettingsFromEnvironment().cache_dir.string();
  if (IsValidUtf8(cache)) return absl::OkStatus();
  return BadOption("the hub's cache (HF_HOME)",
                   "its path is not UTF-8: " + EscapeInvalidUtf8(cache));
}

// Fills in what no source has set, and judges what only the whole shows.
absl::Status Complete(Options& options) {
  if (options.state_dir.empty()) options.state_dir = DefaultStateDir();
  if (options.listen.empty() && PassedSocketCount() == 0) options.listen = {DefaultListen()};
  if (options.worker.empty()) options.worker = DefaultWorker();
  if (options.token_file.empty()) options.token_file = options.state_dir + "/access-tokens";
  if (options.tls_cert.empty() != options.tls_key.empty()) {
    return BadOption("tls_cert", "needs tls_key, and tls_key needs tls_cert");
  }
  FTD_RETURN_IF_ERROR(CheckTexts(options));
  if (options.max_queued_per_owner == 0)
    options.max_queued_per_owner = std::max<int64_t>(1, options.max_queued / 2);
  const bool tls = !options.tls_cert.empty();
  if (!tls && !options.tls_client_ca.empty()) {
    return BadOption("tls_client_ca",
                     "needs tls_cert and tls_key: clients are asked over TLS only");
  }
  for (const std::string& address : options.listen) {
    FTD_RETURN_IF_ERROR(ParseListenAddress(address, tls).status());
  }
  for (const char* key : {"dataset_roots", "model_roots"}) {
    for (const std::string& root : options.*Find(key)->list) {
      if (!fs::path(root).is_absolute()) return BadOption(key, root + " is not an absolute path");
    }
  }
  FTD_RETURN_IF_ERROR(CheckWord("visibility", options.visibility, kVisibilityWords));
  FTD_RETURN_IF_ERROR(CheckWord("certificate_role", options.certificate_role, kRoleWords));
  FTD_RETURN_IF_ERROR(CheckWord("log_format", options.log_format, kLogFormats));
  FTD_RETURN_IF_ERROR(CheckWord("log_level", options.log_level, kLogLevels));
  // Not quoted, for it may be a secret.
  if (const std::string& url = options.notify_url; !url.empty() &&
                                                   !absl::StartsWithIgnoreCase(url, "http://") &&
                                                   !absl::StartsWithIgnoreCase(url, "https://")) {
    return BadOption("notify_url", "must begin with https:// or http://");
  }
  if (options.metrics_listen.empty() || options.metrics_listen == "off") return absl::OkStatus();
  return Prefixed(ParseHostPort(options.metrics_listen).status(), "metrics_listen: ");
}

}  // namespace

const std::vector<OptionHelp>& OptionKeys() {
  static const std::vector<OptionHelp> keys = [] {
    std::vector<OptionHelp> all;
    for (const Option& option : kOptionTable) {
      all.push_back({option.key, option.type, option.help, option.list != nullptr});
    }
    return all;
  }();
  return keys;
}

Settings EnvironmentSettings() {
  Settings settings;
  for (const Option& option : kOptionTable) {
    const std::string value =
        EnvironmentValue(("FTD_" + absl::AsciiStrToUpper(option.key)).c_str());
    if (!value.empty()) settings[option.key] = value;
  }
  return settings;
}

// Later sources replace earlier ones: file, environment, flags.
absl::StatusOr<Options> LoadOptions(const Settings& flags, const Settings& environment,
                                    const fs::path& config_file) {
  Options options;
  const fs::path file = config_file.empty() ? DefaultConfigFile() : config_file;
  if (!file.empty()) FTD_RETURN_IF_ERROR(ReadConfigFile(options, file));
  for (const auto& [key, value] : environment) {
    FTD_RETURN_IF_ERROR(
        SetFromText(options, *Find(key), value, "FTD_" + absl::AsciiStrToUpper(key)));
  }
  for (const auto& [key, value] : flags) {
    FTD_RETURN_IF_ERROR(
        SetFromText(options, *Find(key), value, "--" + absl::StrReplaceAll(key, {{"_", "-"}})));
  }
  FTD_RETURN_IF_ERROR(Complete(options));
  return options;
}

// --print-config: a file that gives the same options, with the defaults filled in.
std::string OptionsToToml(const Options& options) {
  toml::table table;
  for (const Option& option : kOptionTable) {
    if (option.text != nullptr) table.insert(option.key, options.*option.text);
    if (option.number != nullptr) table.insert(option.key, options.*option.number);
    if (option.real != nullptr) table.insert(option.key, options.*option.real);
    if (option.list == nullptr) continue;
    toml::array values;
    for (const std::string& value : options.*option.list) values.push_back(value);
    table.insert(option.key, std::move(values));
  }
  toml::table models;
  for (const auto& [name, path] : options.models) models.insert(name, path);
  if (!models.empty()) table.insert("models", std::move(models));
  std::ostringstream text;
  // Every text between double quotes: elsewhere toml++ 3.1 prints a line's end so that it is lost,
  // or refused.
  text << toml::toml_formatter(table, toml::toml_formatter::default_flags &
                                          ~toml::format_flags::allow_multi_line_strings &
                                          ~toml::format_flags::allow_literal_strings)
       << "\n";
  // What holds, though nobody asked for it: an address that was asked for is not given up.
  if (options.metrics_listen.empty())
    text << "# metrics_listen: by default " << kDefaultMetricsListen << ", if the port is free\n";
  return text.str();
}

}  // namespace ftd
