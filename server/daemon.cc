#include "server/daemon.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/server_builder.h>
#include <grpcpp/server_posix.h>
#include <poll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <thread>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/api/malformed_request.h"
#include "server/attempts/attempt_files.h"
#include "server/host/build_info.h"
#include "server/host/deadline.h"
#include "server/host/listen_address.h"
#include "server/host/log.h"
#include "server/host/service_manager.h"
#include "server/host/uploads.h"
#include "server/jobs/job_states.h"
#include "server/jobs/json.h"
#include "server/jobs/sqlite.h"
#include "server/jobs/wire.h"
#include "server/metrics/rpc_metrics.h"
#include "server/net/tls.h"
#include "server/requests/server_info.h"

namespace ftd {
namespace {

constexpr int kMaxMessageBytes = 4 << 20;
constexpr int kKeepaliveMs = 60 * 1000, kLeastPingIntervalMs = 10 * 1000;
constexpr int kHandshakeMs = 10 * 1000;  // for TLS and HTTP/2's greeting together
constexpr auto kShutdownGrace = std::chrono::seconds(2);

// Returns the signals that Run waits for; the same set is blocked and read.
sigset_t HandledSignals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int signal : {SIGTERM, SIGINT, SIGHUP}) sigaddset(&set, signal);
  return set;
}

Visibility VisibilityOf(const Options& options) {
  return options.visibility == "owner" ? Visibility::kOwner : Visibility::kGroup;
}

SubmitRules RulesOf(const Options& options, const Device& device) {
  return {.default_dtype = device.DefaultDtype(),
          .models = options.models,
          .dataset_roots = options.dataset_roots,
          .model_roots = options.model_roots,
          .visibility = VisibilityOf(options),
          .max_queued = options.max_queued,
          .max_queued_per_owner = options.max_queued_per_owner,
          .worker = options.worker,
          .room = device.room};
}

TlsFiles TlsFilesOf(const Options& options) {
  return {
      .certificate = options.tls_cert, .key = options.tls_key, .client_ca = options.tls_client_ca};
}

// Sets the server's limits. Keepalive finds clients that are gone; clients may ping as often as
// ftctl does.
void SetLimits(grpc::ServerBuilder& builder) {
  builder.SetMaxReceiveMessageSize(kMaxMessageBytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, kKeepaliveMs);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             kLeastPingIntervalMs);
  builder.AddChannelArgument(GRPC_ARG_MAX_CONCURRENT_STREAMS, kMostStreams);
  builder.AddChannelArgument(GRPC_ARG_SERVER_HANDSHAKE_TIMEOUT_MS, kHandshakeMs);
  builder.SetSyncServerOption(grpc::ServerBuilder::NUM_CQS, 1);  // reflection alone is synchronous
}

}  // namespace

void BlockSignals() {
  const sigset_t handled = HandledSignals();
  pthread_sigmask(SIG_BLOCK, &handled, nullptr);
  signal(SIGPIPE, SIG_IGN);
}

Daemon::Daemon(Options options, StateDir state_dir, std::unique_ptr<JobStore> store)
    : options_(std::move(options)),
      state_dir_(std::move(state_dir)),
      device_(FindDevice(state_dir_, options_, gpus_)),
      start_time_(absl::Now()),
      store_(std::move(store)),
      uploads_{state_dir_.Uploads(), hub_, std::chrono::seconds(options_.upload_idle_seconds)},
      pulse_(*store_, [this] { return stopping_.load(); }),
      submitter_(*store_, state_dir_, RulesOf(options_, device_)),
      tokens_(options_.token_file),
      callers_(options_.admin_group),
      access_(*store_, VisibilityOf(options_)),
      quotas_(*store_, state_dir_,
              {.streams = options_.max_streams_per_owner,
               .upload_bytes = options_.max_upload_mib_per_owner << 20,
               .stored_bytes = options_.max_stored_mib_per_owner << 20}),
      exporter_(*store_, state_dir_, options_.worker),
      model_hosts_(state_dir_, {.worker = options_.worker,
                                .device_lock = device_.lock,
                                .idle_seconds = options_.generate_idle_seconds,
                                .most_models = options_.generate_models}),
      generator_(*store_, submitter_, device_, model_hosts_),
      forecast_(*store_, state_dir_, device_, gpus_) {}

absl::Status Daemon::CheckFiles(const Options& options) {
  return CheckTlsFiles(TlsFilesOf(options));
}

// The order matters. The lock of the state directory comes before the database is opened; sockets
// are bound before anything is announced; metrics are served once all that they read exists; and
// the runner starts last, because it may start a worker at once.
absl::StatusOr<std::unique_ptr<Daemon>> Daemon::Start(Options options) {
  FTD_RETURN_IF_ERROR(CheckFiles(options));
  FTD_ASSIGN_OR_RETURN(StateDir state_dir, StateDir::Open(options.state_dir));
  RemoveStaleUploads(state_dir.Uploads());
  std::error_code ignored;
  std::filesystem::remove_all(state_dir.RowChecks(), ignored);
  std::filesystem::remove_all(state_dir.Generation(), ignored);
  RemoveUnfinished(state_dir.root());  // a copy of the database
  Pruner::Sweep(state_dir);
  Exporter::Sweep(state_dir);
  FTD_ASSIGN_OR_RETURN(auto store, JobStore::Open(state_dir.Database()));
  FTD_RETURN_IF_ERROR(store->SetPlace(state_dir.root()));
  auto daemon = std::unique_ptr<Daemon>(
      new Daemon(std::move(options), std::move(state_dir), std::move(store)));
  Daemon& d = *daemon;
  FTD_RETURN_IF_ERROR(d.BindUnixSockets());
  FTD_RETURN_IF_ERROR(d.BindTcpSockets());
  const MetricsSources sources{.store = *d.store_,
                               .state_dir = d.state_dir_,
                               .hub = d.hub_,
                               .gpus = d.gpus_,
                               .cuda = d.device_.cuda,
                               .tls_certificate = d.options_.tls_cert,
                               .worker_up = [&d] { return d.runner_->worker_up(); }};
  FTD_ASSIGN_OR_RETURN(d.metrics_, Metrics::Start(d.options_.metrics_listen, sources));
  FTD_RETURN_IF_ERROR(d.MakeRunner());
  d.MakeService();
  FTD_RETURN_IF_ERROR(d.BuildServer());
  // A daemon that stops in order removes this file, so its presence means a crash.
  if (access(d.state_dir_.Addresses().c_str(), F_OK) == 0) d.CheckDatabase();
  FTD_RETURN_IF_ERROR(d.WriteAddresses());
  d.metrics_->Serve([&d] { return d.Health(); });
  for (const auto& listener : d.listeners_) {
    listener->Start(absl::Milliseconds(kHandshakeMs),
                    [&d](Fd fd) { grpc::AddInsecureChannelFromFd(d.server_.get(), fd.Release()); });
  }
  for (const auto& listener : d.tcp_listeners_) {
    listener->Start([&d](int socket, Fd fd) {
      grpc::experimental::ExternalConnectionAcceptor::NewConnectionParameters connection;
      connection.listener_fd = socket;
      connection.fd = fd.Release();
      d.tcp_acceptor_->HandleNewConnection(&connection);
    });
  }
  LogInfo("ftd ", kVersion, " serves ", absl::StrJoin(d.addresses_, ", "), "; state in ",
          d.state_dir_.root().string(), "; device ", d.device_.Name());
  NotifyReady();
  d.runner_->Start();
  d.row_checker_->Wake();
  d.pruner_->Start();
  return daemon;
}

// Store → metrics, watchers, prefetcher, row checker, notifier and runner; runner → metrics, pulse
// and watchers. Listeners run on the thread that made the change, and only wake others.
absl::Status Daemon::MakeRunner() {
  store_->SetCommitListener([this](absl::Duration taken) { metrics_->OnCommit(taken); });
  store_->SetListener([this](const Job& job, const StateEvent& event) {
    metrics_->OnStateChange(job, event);
    hub_.Notify(job.id);
    hub_.Notify(WatchHub::kQueue);
    if (IsFinal(job.state)) pruner_->OnJobEnded();
    if (IsActive(job.state)) model_hosts_.FreeDevice();
    prefetcher_->Wake();
    row_checker_->Wake();
    if (IsFinal(event.to)) notifier_->Wake();
    if (job.blocked || (IsFinal(event.to) && event.to != JobState::kSucceeded))
      runner_->CheckDependents();
    // A job that has just been queued is nothing to the runner while another one has a worker.
    if (event.from.has_value() || !store_->AnyActive()) runner_->Wake();
  });
  pruner_ = std::make_unique<Pruner>(
      *store_, state_dir_, RetentionOf(options_),
      absl::Seconds(options_.retention_interval_seconds),
      [this](RemovalKind kind, int64_t bytes) { metrics_->OnPruned(kind, bytes); });
  row_checker_ = std::make_unique<RowChecker>(*store_, state_dir_, options_.worker, device_.room);
  const NotifySettings notify{.command = options_.notify_command, .url = options_.notify_url};
  FTD_RETURN_IF_ERROR(store_->SetChannels(Notifier::Channels(notify)));
  notifier_ = std::make_unique<Notifier>(*store_, state_dir_, notify);
  prefetcher_ = std::make_unique<Prefetcher>(*store_, [this] { row_checker_->Wake(); });
  const RunnerObserver observer{
      .news =
          [this](const Job& job, const Attempt& attempt, const AttemptNews& news) {
            metrics_->OnNews(job, attempt, news);
            pulse_.OnNews(news);
            hub_.Notify(job.id);
          },
      .attempt_ended = [this](const Job& job,
                              const Attempt& attempt) { metrics_->OnAttemptEnded(job, attempt); },
      .turn = [this](const Job* running) { return pulse_.Beat(running); },
      .progress = [this] { pulse_.Progress(); }};
  const RunnerOptions runner_options{.worker = options_.worker,
                                     .device = device_,
                                     .stop_grace = absl::Seconds(options_.stop_grace_seconds),
                                     .hang_limit = options_.hang_seconds > 0
                                                       ? absl::Seconds(options_.hang_seconds)
                                                       : absl::InfiniteDuration()};
  FTD_ASSIGN_OR_RETURN(runner_, Runner::Create(*store_, state_dir_, runner_options, observer));
  return absl::OkStatus();
}

absl::Status Daemon::BindUnixSockets() {
  FTD_ASSIGN_OR_RETURN(std::vector<PassedSocket> passed, PassedSockets());
  for (PassedSocket& socket : passed) {
    FTD_ASSIGN_OR_RETURN(auto listener,
                         UnixListener::Adopt(std::move(socket.socket), connections_));
    listeners_.push_back(std::move(listener));
    addresses_.push_back("unix:" + socket.path);
  }
  // A socket that the service manager passed may be in `listen` as well.
  for (const std::string& text : options_.listen) {
    FTD_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(text, /*tls=*/true));
    if (address.unix_path.empty() || absl::c_linear_search(addresses_, text)) continue;
    FTD_ASSIGN_OR_RETURN(auto listener, UnixListener::Bind(address.unix_path, connections_));
    listeners_.push_back(std::move(listener));
    addresses_.push_back(text);
  }
  return absl::OkStatus();
}

absl::Status Daemon::BindTcpSockets() {
  for (const std::string& text : options_.listen) {
    FTD_ASSIGN_OR_RETURN(const ListenAddress address, ParseListenAddress(text, /*tls=*/true));
    if (!address.unix_path.empty()) continue;
    FTD_ASSIGN_OR_RETURN(auto listener, TcpListener::Bind(address.tcp, connections_));
    addresses_.push_back(absl::StrCat(text.substr(0, text.rfind(':')), ":", listener->port()));
    tcp_listeners_.push_back(std::move(listener));
  }
  return absl::OkStatus();
}

void Daemon::MakeService() {
  service_ = std::make_unique<FineTuningService>(ServiceParts{
      .store = *store_,
      .state_dir = state_dir_,
      .submitter = submitter_,
      .hub = hub_,
      .lanes = lanes_,
      .uploads = uploads_,
      .tokens = tokens_,
      .access = access_,
      .quotas = quotas_,
      .pruner = *pruner_,
      .exporter = exporter_,
      .generator = generator_,
      .gpus = gpus_,
      .forecast = forecast_,
      .device = device_.Name(),
      .caller_of = [this](const auto& context) { return callers_.Of(context, listeners_); },
      .server_info = [this] { return Info(); },
      .queue_changed =
          [this] {
            hub_.Notify(WatchHub::kQueue);
            runner_->Wake();
          },
      .stopping = [this] { return stopping_.load(); }});
}

absl::Status Daemon::BuildServer() {
  grpc::EnableDefaultHealthCheckService(true);
  grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  SetLimits(builder);
  builder.RegisterService(service_.get());
  std::vector<std::unique_ptr<grpc::experimental::ServerInterceptorFactoryInterface>> interceptors;
  interceptors.push_back(MalformedRequests());  // first: it changes the status that is counted
  interceptors.push_back(RpcMetrics(
      metrics_->registry(), FineTuningService::IsMethod,
      {.began = [this](const std::string& peer) { connections_.SawCall(peer); },
       .had_message = [this](const std::string& peer) { connections_.SawMessage(peer); },
       .ended = [this](const auto& peer, bool reset) { connections_.SawEnd(peer, reset); }}));
  builder.experimental().SetInterceptorCreators(std::move(interceptors));
  const auto credentials =
      options_.tls_cert.empty()
          ? grpc::InsecureServerCredentials()
          : TlsCredentials(TlsFilesOf(options_), tokens_, *RoleNamed(options_.certificate_role));
  tcp_acceptor_ = builder.experimental().AddExternalConnectionAcceptor(
      grpc::ServerBuilder::experimental_type::ExternalConnectionType::FROM_FD, credentials);
  server_ = builder.BuildAndStart();
  if (server_ == nullptr) return absl::InternalError("gRPC cannot start its server");
  server_->GetHealthCheckService()->SetServingStatus(v1::FineTuning::service_full_name(), true);
  return absl::OkStatus();
}

// In the background: quick_check reads the whole database, and the daemon serves meanwhile.
void Daemon::CheckDatabase() {
  lanes_.reads.Post([this] {
    auto database = Database::Open(state_dir_.Database());
    const absl::Status checked = database.ok() ? database->QuickCheck() : database.status();
    if (checked.ok()) return LogInfo("the last stop was unclean; the database is whole");
    LogError(std::string(checked.message()));
    damaged_ = true;
    server_->GetHealthCheckService()->SetServingStatus(false);
  });
}

absl::Status Daemon::WriteAddresses() const {
  return WriteFileAtomically(state_dir_.Addresses(),
                             AddressesToJson(addresses_, metrics_->address(), getpid()));
}

v1::ServerInfo Daemon::Info() const {
  v1::ServerInfo info = DescribeServer(options_, state_dir_, device_);
  info.set_listen_address(addresses_.front());
  info.set_metrics_address(metrics_->address());
  *info.mutable_start_time() = ToTimestamp(start_time_);
  return info;
}

absl::Status Daemon::Health() {
  constexpr absl::Duration kPatience = absl::Seconds(30);
  if (stopping_) return absl::UnavailableError("ftd is stopping");
  if (damaged_) return absl::DataLossError("the database is damaged; ftd's log says more");
  if (const absl::Duration overdue = pulse_.Overdue(); overdue > kPatience) {
    return absl::UnavailableError(
        absl::StrCat("the queue has stood still for ", absl::ToInt64Seconds(overdue), " seconds"));
  }
  const absl::Status writable = store_->Probe();
  // Somebody else writes: it answers.
  if (ReasonOf(writable) == Reason::kDbBusy) return absl::OkStatus();
  return Prefixed(writable, "the database takes no writes: ");
}

// No new calls. Those that run may end, and the runner may take its time for a checkpoint.
void Daemon::CloseDoors() {
  stopping_ = true;
  server_->GetHealthCheckService()->SetServingStatus(false);
  for (const auto& listener : listeners_) listener->Stop();
  for (const auto& listener : tcp_listeners_) listener->Stop();
}

Daemon::Outcome Daemon::Run(const std::function<absl::Status()>& check_config) {
  const sigset_t handled = HandledSignals();
  const Fd signals(signalfd(-1, &handled, SFD_CLOEXEC));
  pollfd polled[] = {{.fd = signals.get(), .events = POLLIN},
                     {.fd = runner_->finished_fd(), .events = POLLIN}};
  while (true) {
    poll(polled, 2, -1);
    // The worker has ended, and its job is stored.
    if (polled[1].revents != 0) return Outcome::kStopped;
    signalfd_siginfo info;
    if (polled[0].revents == 0 || read(signals.get(), &info, sizeof(info)) != sizeof(info)) {
      continue;
    }
    // The first signal asks for a checkpoint; a second one does not wait for it.
    if (info.ssi_signo != SIGHUP) {
      LogInfo(stopping_ ? "asked again to stop: without waiting for a checkpoint"
                        : "asked to stop");
      const bool again = stopping_;
      CloseDoors();
      NotifyStopping();
      again ? runner_->Hasten() : runner_->Stop();
      continue;
    }
    NotifyReloading();
    // The new configuration is checked first: a daemon with a bad one would end instead of
    // restarting. The worker is left running for the re-executed daemon to adopt.
    if (const absl::Status checked = check_config(); checked.ok()) {
      LogInfo("asked to restart");
      runner_->Abandon();
      CloseDoors();
      return Outcome::kReexecute;
    } else {
      LogError("SIGHUP is ignored, because the configuration is bad: ",
               std::string(checked.message()));
      NotifyReady();
    }
  }
}

// Shuts the server down. Streams end first, because gRPC's shutdown waits for every call. After the
// grace it cancels them; then their connections are broken off, a moment later so that clients that
// read learn why.
void Daemon::ShutDownServer() {
  hub_.EndAll(Error(Reason::kStopping, "ftd is stopping; call again"));
  const Deadline closing(kShutdownGrace + std::chrono::milliseconds(200),
                         [this] { connections_.CloseAll(); });
  server_->Shutdown(std::chrono::system_clock::now() + kShutdownGrace);
  server_->Wait();
}

Daemon::~Daemon() {
  // New connections end first, then the runner, then the calls that run. Abandon leaves a worker
  // running for the next daemon. Scrapes end beside that: a slow client may delay them for seconds.
  std::thread scrapes([this] {
    if (metrics_ != nullptr) metrics_->Close();
  });
  for (const auto& listener : listeners_) listener->Stop();
  for (const auto& listener : tcp_listeners_) listener->Stop();
  if (runner_ != nullptr) {
    runner_->Abandon();
    runner_->Join();
  }
  // Before the parts that it wakes by changing a job.
  if (row_checker_ != nullptr) row_checker_->Stop();
  if (notifier_ != nullptr) notifier_->Stop();
  if (pruner_ != nullptr) pruner_->Stop();
  if (server_ != nullptr) ShutDownServer();
  scrapes.join();
  unlink(state_dir_.Addresses().c_str());
  LogInfo("ftd has stopped");
}

}  // namespace ftd
