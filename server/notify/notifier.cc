#include "server/notify/notifier.h"

#include <algorithm>
#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/child_process.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/runlog/plain_json.h"
#include "server/host/log.h"
#include "server/requests/job_view.h"

namespace ftd {
namespace {

constexpr char kCommand[] = "notify_command", kUrl[] = "notify_url";
constexpr auto kCommandLimit = std::chrono::seconds(60);
constexpr absl::Duration kGiveUpAfter = absl::Hours(24), kLongestPause = absl::Hours(1);

// 1 s, 2 s, 4 s, … an hour.
absl::Duration PauseAfter(int32_t tries) {
  return std::min(kLongestPause, absl::Seconds(1) * (int64_t{1} << std::clamp(tries, 0, 20)));
}

// ": " and the beginning of what the other side said last; nothing where it said nothing.
std::string Saying(const std::string& output) {
  const std::string line = LastLine(output);
  return line.empty() ? "" : absl::StrCat(": ", Shortened(line, 200));
}

}  // namespace

// The thread is the last member, so all others exist when it starts.
Notifier::Notifier(JobStore& store, const StateDir& state_dir, NotifySettings settings)
    : store_(store),
      state_dir_(state_dir),
      settings_(std::move(settings)),
      http_([this] { return ending_.load(); }),
      thread_([this] { Run(); }) {}

std::vector<std::string> Notifier::Channels(const NotifySettings& settings) {
  std::vector<std::string> channels;
  if (!settings.command.empty()) channels.emplace_back(kCommand);
  if (!settings.url.empty()) channels.emplace_back(kUrl);
  return channels;
}

void Notifier::Stop() {
  ending_ = true;
  Wake();
  if (thread_.joinable()) thread_.join();
}

void Notifier::Run() {
  while (!ending_) {
    Moment due = SteadyNow();
    while (!ending_ && due <= SteadyNow()) due = Work();
    if (!ending_) waker_.WaitUntil(due);
  }
}

Moment Notifier::Work() {
  constexpr absl::Duration kAfterAnError = absl::Seconds(10);
  const auto next = store_.NextNotification();
  if (!next.ok()) {
    LogError("cannot look for notifications: ", next.status().message());
    return SteadyNow() + kAfterAnError;
  }
  if (!next->has_value()) return kNever;
  const Notification& notification = **next;
  if (notification.tries > 0) {
    const Moment due =
        wait_.EndOf(absl::StrCat(notification.job_id, " ", notification.channel),
                    notification.not_before, [&] { return PauseAfter(notification.tries - 1); });
    if (due > SteadyNow()) return due;
  }
  const auto job = store_.Get(notification.job_id);
  if (!job.ok()) return SteadyNow() + kAfterAnError;
  const About about{.job = job->id};
  const absl::Status notified = Notify(*job, notification.channel);
  if (absl::IsCancelled(notified)) return kNever;  // the next daemon tries again
  absl::Status stored;
  if (notified.ok()) {
    LogInfo(about, notification.channel, " has the job's end");
    stored = store_.Forget(notification);
  } else if (absl::Now() - job->end_time.value_or(absl::Now()) > kGiveUpAfter) {
    LogError(about, notification.channel, " is given up after a day and ", notification.tries + 1,
             " tries: ", notified.message());
    stored = store_.Forget(notification);
  } else {
    const absl::Duration pause = PauseAfter(notification.tries);
    LogWarning(about, notification.channel, " failed: ", notified.message(), "; next try in ",
               absl::FormatDuration(pause));
    stored = store_.Postpone(notification, absl::Now() + pause);
  }
  // A database that takes no writes must not make a report a second.
  if (!stored.ok()) return SteadyNow() + kAfterAnError;
  return SteadyNow();
}

absl::Status Notifier::Notify(const Job& job, const std::string& channel) {
  FTD_ASSIGN_OR_RETURN(const v1::Job view, ViewJob(store_, state_dir_, job));
  const std::string json =
      ToJson(view).dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  return channel == kCommand ? RunCommand(job, json + "\n") : Post(json);
}

absl::Status Notifier::RunCommand(const Job& job, const std::string& json) {
  const ChildOptions options = {
      .limit = kCommandLimit,
      .input = json,
      .environment = {absl::StrCat("FTD_JOB_ID=", job.id), absl::StrCat("FTD_JOB_NAME=", job.name),
                      absl::StrCat("FTD_JOB_STATE=", JobStateName(job.state))},
      .own_group = true,
      .cancelled = [this] { return ending_.load(); }};
  FTD_ASSIGN_OR_RETURN(const ChildResult ran,
                       RunChild({"/bin/sh", "-c", settings_.command}, options));
  if (ran.exit_code == 0) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("exit status ", ran.exit_code, Saying(ran.output)));
}

absl::Status Notifier::Post(const std::string& json) {
  FTD_ASSIGN_OR_RETURN(const hub::HttpResponse response, http_.Post(settings_.url, json));
  if (response.status / 100 == 2) return absl::OkStatus();
  return absl::UnknownError(absl::StrCat("the address answers with HTTP status ", response.status,
                                         Saying(response.body)));
}

}  // namespace ftd
