#include "server/generation/model_hosts.h"

#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <optional>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/error.h"
#include "server/host/log.h"

namespace ftd {
namespace {

using nlohmann::json;

constexpr int kLookMs = 100;
constexpr absl::Duration kConnectPause = absl::Milliseconds(20);

v1::JobSpec::Dtype ToWire(Dtype dtype) {
  auto wire = v1::JobSpec::DTYPE_UNSPECIFIED;
  v1::JobSpec::Dtype_Parse(absl::AsciiStrToUpper(std::string(DtypeName(dtype))), &wire);
  return wire;
}

// Why a worker no longer answers. What went wrong after it had loaded the model it has told whoever
// waited, or it was killed.
absl::Status Ended(const ModelHost& host) {
  const absl::Status end = host.End().value_or(absl::OkStatus());
  if (!host.ready() && ReasonOf(end) == Reason::kHostMemoryGuard)
    return Error(Reason::kDoesNotFit, std::string(end.message()));
  if (!host.ready() && !end.ok()) return end;
  return Error(Reason::kGenerationEnded,
               host.killed() ? "a job has taken the GPU, or another model the place; ask again"
                             : "the process that generated has ended; ask again");
}

// Waits until the worker listens, which is before it loads the model.
absl::StatusOr<Fd> ConnectToHost(const ModelHost& host, const AnswerObserver& observer) {
  for (;;) {
    auto socket = host.Connect();
    if (socket.ok() || !absl::IsUnavailable(socket.status())) return socket;
    if (host.End().has_value()) return Ended(host);
    if (observer.cancelled()) return absl::CancelledError();
    absl::SleepFor(kConnectPause);
  }
}

// Reads the lines that a worker sends.
class ReplyReader {
 public:
  ReplyReader(Fd socket, ModelHost& host, const AnswerObserver& observer)
      : socket_(std::move(socket)), host_(host), observer_(observer) {}

  // Passes on each reply; ends with the last one, which has no token.
  absl::Status Run() {
    for (;;) {
      if (observer_.cancelled()) return absl::CancelledError();
      pollfd polled{.fd = socket_.get(), .events = POLLIN, .revents = 0};
      if (::poll(&polled, 1, kLookMs) <= 0) continue;
      char buffer[65536];
      const ssize_t n = ::recv(socket_.get(), buffer, sizeof buffer, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return Gone();
      unread_.append(buffer, static_cast<size_t>(n));
      FTD_ASSIGN_OR_RETURN(const bool last, PassOn());
      if (last) return absl::OkStatus();
    }
  }

 private:
  // Returns whether the last reply was among what has come.
  absl::StatusOr<bool> PassOn() {
    size_t begin = 0;
    for (size_t end; (end = unread_.find('\n', begin)) != std::string::npos; begin = end + 1) {
      const json reply = json::parse(unread_.begin() + static_cast<std::ptrdiff_t>(begin),
                                     unread_.begin() + static_cast<std::ptrdiff_t>(end), nullptr,
                                     /*allow_exceptions=*/false);
      if (!reply.is_object()) return absl::InternalError("the worker sent a reply without form");
      host_.SetReady();
      FTD_RETURN_IF_ERROR(observer_.on_reply(reply));
      if (!reply.contains("token")) return true;
    }
    unread_.erase(0, begin);
    return false;
  }

  // The worker closed the connection early. Why is known once it has ended.
  absl::Status Gone() {
    for (int waited = 0; waited < 50 && !host_.End().has_value(); ++waited)
      absl::SleepFor(absl::Milliseconds(kLookMs));
    return Ended(host_);
  }

  const Fd socket_;
  ModelHost& host_;
  const AnswerObserver& observer_;
  std::string unread_;
};

absl::Status SendLine(const Fd& socket, const std::string& line) {
  for (size_t sent = 0; sent < line.size();) {
    const ssize_t n = ::send(socket.get(), line.data() + sent, line.size() - sent, MSG_NOSIGNAL);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, "send a request");
    sent += static_cast<size_t>(n);
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ModelHosts::Answer(const HostedModel& model, Choose choose, const std::string& request,
                                const AnswerObserver& observer) {
  FTD_ASSIGN_OR_RETURN(const Use use, Take(model, choose));
  const auto give_back = absl::MakeCleanup([&] { GiveBack(use); });
  ModelHost& host = *use->host;
  if (!host.ready()) observer.loading(use->place.on_cpu);
  FTD_ASSIGN_OR_RETURN(Fd socket, ConnectToHost(host, observer));
  // A worker that is about to end shows when its reply is read.
  if (!SendLine(socket, absl::StrCat(request, "\n")).ok()) return Ended(host);
  return ReplyReader(std::move(socket), host, observer).Run();
}

// `ended` is destroyed without the lock, since that waits for workers to end.
absl::StatusOr<ModelHosts::Use> ModelHosts::Take(const HostedModel& model, Choose choose) {
  std::vector<Use> ended;
  const absl::MutexLock lock(&mutex_);
  RemoveEnded(&ended);
  const auto place = choose();
  Use use = Find(model);
  // From the CPU a model moves to a GPU that has become free, but not while somebody listens.
  const bool moves = use != nullptr && place.ok() && !place->on_cpu && use->place.on_cpu;
  if (moves && use->users == 0) End(std::exchange(use, nullptr), &ended);
  if (use == nullptr) {
    FTD_RETURN_IF_ERROR(place.status());
    FTD_RETURN_IF_ERROR(MakeRoom(&ended));
    FTD_ASSIGN_OR_RETURN(use, StartHost(model, *place));
  }
  ++use->users;
  return use;
}

void ModelHosts::RemoveEnded(std::vector<Use>* ended) {
  std::erase_if(slots_, [&](const Use& slot) {
    const bool over = slot->host->killed() || slot->host->End().has_value();
    if (over) ended->push_back(slot);
    return over;
  });
}

void ModelHosts::End(const Use& slot, std::vector<Use>* ended) {
  slot->host->Kill();
  RemoveEnded(ended);
}

ModelHosts::Use ModelHosts::Find(const HostedModel& model) {
  const auto found = std::find_if(slots_.begin(), slots_.end(),
                                  [&](const Use& slot) { return slot->model == model; });
  return found == slots_.end() ? nullptr : *found;
}

// The one that has been idle for the longest gives way.
absl::Status ModelHosts::MakeRoom(std::vector<Use>* ended) {
  if (static_cast<int64_t>(slots_.size()) < settings_.most_models) return absl::OkStatus();
  Use oldest;
  for (const Use& slot : slots_) {
    if (slot->users == 0 && (oldest == nullptr || slot->used < oldest->used)) oldest = slot;
  }
  if (oldest == nullptr) {
    return Error(Reason::kTooManyModels,
                 absl::StrCat("as many models are answering as may (`generate_models` is ",
                              settings_.most_models, "); retry when one is idle"));
  }
  End(oldest, ended);
  return absl::OkStatus();
}

absl::StatusOr<ModelHosts::Use> ModelHosts::StartHost(const HostedModel& model,
                                                      const HostPlace& place) {
  v1::AttemptRequest request;
  v1::JobSpec& spec = *request.mutable_spec();
  spec.set_mode(model.nf4 ? v1::JobSpec::QLORA : v1::JobSpec::FULL);
  spec.set_model(model.model_dir);
  spec.set_dtype(ToWire(place.dtype));
  request.set_model_dir(model.model_dir);
  request.set_device_lock(settings_.device_lock);
  v1::AttemptRequest::Generation& generation = *request.mutable_generation();
  generation.set_daemon_pid(getpid());
  generation.set_adapter_dir(model.adapter_dir);
  generation.set_idle_seconds(settings_.idle_seconds);
  generation.set_on_cpu(place.on_cpu);
  FTD_ASSIGN_OR_RETURN(
      auto host, ModelHost::Start(settings_.worker,
                                  state_dir_.Generation() / absl::StrCat(++started_), request));
  LogInfo("loading ", model.model_dir.string(), " to generate on the ",
          place.on_cpu ? "CPU" : "GPU");
  slots_.push_back(std::make_shared<Slot>(
      Slot{.model = model, .place = place, .host = std::move(host), .used = absl::Now()}));
  return slots_.back();
}

void ModelHosts::GiveBack(const Use& use) {
  const absl::MutexLock lock(&mutex_);
  --use->users;
  use->used = absl::Now();
}

void ModelHosts::FreeDevice() {
  const absl::MutexLock lock(&mutex_);
  for (const Use& slot : slots_)
    if (!slot->place.on_cpu) slot->host->Kill();
}

}  // namespace ftd
