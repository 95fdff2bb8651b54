// The daemon: wires its parts, owns them, and lives until a signal ends it.
#pragma once

#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/api/fine_tuning_service.h"
#include "server/attempts/device.h"
#include "server/attempts/pulse.h"
#include "server/attempts/runner.h"
#include "server/callers.h"
#include "server/generation/generator.h"
#include "server/generation/model_hosts.h"
#include "server/host/gpus.h"
#include "server/host/options.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/lookahead/prefetcher.h"
#include "server/lookahead/row_checker.h"
#include "server/metrics/metrics.h"
#include "server/net/access_tokens.h"
#include "server/net/connections.h"
#include "server/net/tcp_listener.h"
#include "server/net/unix_listener.h"
#include "server/notify/notifier.h"
#include "server/requests/exporter.h"
#include "server/requests/forecast.h"
#include "server/requests/pruner.h"
#include "server/requests/submission.h"
#include "server/streams/watch_hub.h"

namespace ftd {

// Blocks the signals that Daemon::Run waits for, and ignores SIGPIPE. Call before any thread is
// started.
void BlockSignals();

class Daemon {
 public:
  enum class Outcome {
    kStopped,    // SIGTERM or SIGINT, done
    kReexecute,  // SIGHUP with a configuration that is good: start anew in this process
  };

  // Checks that the files that the settings name are good, which LoadOptions does not.
  static absl::Status CheckFiles(const Options& options);
  // Opens the state directory, binds all addresses and serves. Requires: BlockSignals was called.
  static absl::StatusOr<std::unique_ptr<Daemon>> Start(Options options);
  ~Daemon();

  // Waits for signals, and reports them to the service manager. SIGTERM, SIGINT: stops; a second
  // one hastens. SIGHUP: `check_config` decides whether the daemon starts again.
  Outcome Run(const std::function<absl::Status()>& check_config);

 private:
  // Makes the parts that need no address; Start does the rest in order.
  Daemon(Options options, StateDir state_dir, std::unique_ptr<JobStore> store);
  // Binds those that the service manager passed, and those of the settings.
  absl::Status BindUnixSockets();
  absl::Status BindTcpSockets();
  // Connects the store, the runner, the metrics and the hub, so that each hears of changes.
  absl::Status MakeRunner();
  // gRPC's view of who calls: by unix socket, token or certificate.
  void MakeService();
  // Requires: MakeService and the metrics' registry.
  absl::Status BuildServer();
  // After an unclean stop: checks the database in the background; a damaged one fails the health
  // check.
  void CheckDatabase();
  // Writes addresses.json, for programs that look for this daemon.
  absl::Status WriteAddresses() const;
  v1::ServerInfo Info() const;
  // OK, or why ftd cannot do its work; for /healthz.
  absl::Status Health();
  // Refuses new connections; calls that run go on to their end.
  void CloseDoors();
  // Ends all streams, then waits for the other calls.
  void ShutDownServer();

  const Options options_;
  const StateDir state_dir_;
  const Device device_;
  const absl::Time start_time_;
  std::atomic<bool> stopping_{false};
  std::atomic<bool> damaged_{false};  // the database
  std::unique_ptr<JobStore> store_;
  WatchHub hub_;
  const GpuSampler gpus_{AskGpus};
  Lanes lanes_;
  UploadLane uploads_;
  std::unique_ptr<Metrics> metrics_;
  std::unique_ptr<RowChecker> row_checker_;
  std::unique_ptr<Prefetcher> prefetcher_;
  std::unique_ptr<Notifier> notifier_;
  Pulse pulse_;  // the runner's
  std::unique_ptr<Runner> runner_;
  Submitter submitter_;
  std::unique_ptr<FineTuningService> service_;
  Connections connections_{MostConnections()};
  std::vector<std::unique_ptr<UnixListener>> listeners_;
  std::vector<std::unique_ptr<TcpListener>> tcp_listeners_;
  std::unique_ptr<grpc::experimental::ExternalConnectionAcceptor> tcp_acceptor_;
  std::vector<std::string> addresses_;  // as bound
  AccessTokens tokens_;
  Callers callers_;
  Access access_;
  OwnerQuotas quotas_;
  Exporter exporter_;
  ModelHosts model_hosts_;
  Generator generator_;
  const Forecast forecast_;
  std::unique_ptr<Pruner> pruner_;
  std::unique_ptr<grpc::Server> server_;
};

}  // namespace ftd
