// A stream that does a long piece of work for one client: PullModel, VerifyModel, CheckData.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "server/requests/client_task.h"
#include "server/streams/stream_reactor.h"
#include "server/streams/watch_hub.h"

namespace ftd {

// The work runs on a thread of its own and wakes its stream through the hub, under a key that no
// other stream has. The hub must outlive the stream.
template <typename Message>
StreamReactor<Message>* StartTask(WatchHub& hub, typename ClientTask<Message>::Work work) {
  const std::string key = hub.NewKey();
  return StreamReactor<Message>::Start(
      std::make_unique<ClientTask<Message>>([&hub, key] { hub.Notify(key); }, std::move(work)),
      &hub, key);
}

}  // namespace ftd
