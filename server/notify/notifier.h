// Reports the end of jobs to a program or a web address of the operator's choice.
#pragma once

#include <atomic>
#include <string>
#include <thread>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/steady_clock.h"
#include "lib/hub/transport/http_client.h"
#include "server/host/state_dir.h"
#include "server/host/stored_wait.h"
#include "server/host/waker.h"
#include "server/jobs/job_store.h"

namespace ftd {

// Who is notified: Options::notify_command and Options::notify_url; empty: not so.
struct NotifySettings {
  std::string command;
  std::string url;
};

// Works off the store's notifications in a thread of its own, so that no job waits for it. What
// fails is tried again for a day, in the next daemon too; what is broken off by a stop may arrive
// twice. Only messages name who was notified: command and address may hold secrets.
class Notifier {
 public:
  // `store` and `state_dir` must outlive it.
  Notifier(JobStore& store, const StateDir& state_dir, NotifySettings settings);
  ~Notifier() { Stop(); }
  Notifier(const Notifier&) = delete;
  Notifier& operator=(const Notifier&) = delete;

  // The channels for JobStore::SetChannels.
  static std::vector<std::string> Channels(const NotifySettings& settings);

  // Something in the store changed. Thread-safe, does not block.
  void Wake() { waker_.Wake(); }
  // Breaks off what is under way. Wake is harmless from now on.
  void Stop();

 private:
  void Run();
  // Tries the one that is due first. Returns when the next one is.
  Moment Work();
  absl::Status Notify(const Job& job, const std::string& channel);
  absl::Status RunCommand(const Job& job, const std::string& json);
  absl::Status Post(const std::string& json);

  JobStore& store_;
  const StateDir& state_dir_;
  const NotifySettings settings_;
  std::atomic<bool> ending_{false};
  hub::HttpClient http_;  // of the thread
  Waker waker_;
  StoredWait wait_;  // of the thread: the notification that is due first
  std::thread thread_;
};

}  // namespace ftd
