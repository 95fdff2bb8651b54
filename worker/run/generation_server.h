// A generation that answers over a unix socket, several clients at a time: their sequences go
// through the model together, one token of each, and join and leave between two tokens.
//
// A client connects, sends one line of JSON, and reads lines of JSON until the server closes the
// connection. To stop an answer, it closes the connection itself. Who may connect is the folder's
// matter.
//   request  "prompt": a text, or "messages": a list for the model's chat template, or
//   "prompt_ids";
//            "max_new_tokens", "stop": a list of texts, "temperature", "top_k", "top_p", "min_p",
//            "repetition_penalty", "seed", "ignore_eos": all optional
//   reply    {"token": id, "text": what is certain with it}, for each token; then
//            {"finish_reason": "stop" or "length", "prompt_tokens", "new_tokens", "device"}
//            or {"error": message, "reason": lib/base/reason.h's, "fields": {name: what is wrong}}
#pragma once

#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"
#include "worker/run/generation.h"

namespace ftd {

class GenerationServer {
 public:
  // Listens. A client that connects before the model is loaded waits. Call before any other thread
  // starts: blocks SIGTERM and SIGINT in this and all later threads.
  static absl::StatusOr<std::unique_ptr<GenerationServer>> Start(
      const std::filesystem::path& socket);
  // Removes the socket.
  ~GenerationServer();

  // Answers until SIGTERM or SIGINT comes, which ends all answers where they are, or nobody has
  // asked for anything for `idle`. An error is the model's; each client has been told.
  absl::Status Serve(Generation& generation, std::chrono::seconds idle);

 private:
  struct Client {
    Fd connection;
    std::string in, out;  // bytes of the request so far; lines that were not sent yet
    int64_t answer = -1;
    int64_t prompt_tokens = 0, new_tokens = 0;
    bool asked = false;     // the request has been read
    bool finished = false;  // nothing follows `out`
    bool gone = false;
  };

  GenerationServer() = default;
  // Waits for clients at most so long; true when a signal has come. -1: forever.
  bool Wait(int milliseconds);
  void Accept();
  void Read(Generation& generation, Client* client);
  void Begin(Generation& generation, Client* client);
  absl::Status Step(Generation& generation);
  void Send(Client* client);
  void RemoveEnded(Generation& generation);

  std::filesystem::path socket_;
  Fd listener_, signals_;
  std::vector<Client> clients_;
};

}  // namespace ftd
