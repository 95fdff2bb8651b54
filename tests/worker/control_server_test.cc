#include "worker/run/control_server.h"

#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <csignal>
#include <future>
#include <thread>

#include "ftd/v1/worker.pb.h"
#include "gtest/gtest.h"
#include "server/attempts/control_client.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

constexpr std::chrono::seconds kDeadline{10};

class ControlServerTest : public ::testing::Test {
 protected:
  // Longer than a socket address may be.
  ControlServerTest() : dir_(temp_ / std::string(120, 'x')) {
    std::filesystem::create_directories(dir_);
    server_ = ControlServer::Start(dir_, &flags_, [this] { abandoned_.set_value(); }).value();
  }

  v1::ControlReply Send(const std::string& bytes) {
    const std::filesystem::path cwd = std::filesystem::current_path();
    std::filesystem::current_path(dir_);  // the short way to a long path
    Fd client(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{AF_UNIX, "control.sock"};
    EXPECT_EQ(::connect(client.get(), reinterpret_cast<sockaddr*>(&address), sizeof address), 0);
    std::filesystem::current_path(cwd);
    EXPECT_EQ(::send(client.get(), bytes.data(), bytes.size(), 0),
              static_cast<ssize_t>(bytes.size()));
    char buffer[256];
    const ssize_t n = ::recv(client.get(), buffer, sizeof buffer, 0);
    v1::ControlReply reply;
    EXPECT_TRUE(n > 0 && reply.ParseFromArray(buffer, static_cast<int>(n)));
    return reply;
  }

  TempDir temp_;
  std::filesystem::path dir_;
  StopFlags flags_;
  std::promise<void> abandoned_;
  std::unique_ptr<ControlServer> server_;
};

TEST_F(ControlServerTest, StopWithSavingSetsTheFlag) {
  v1::ControlRequest request;
  request.mutable_stop()->set_save(true);
  EXPECT_TRUE(Send(request.SerializeAsString()).ok());
  EXPECT_TRUE(flags_.stop);
  EXPECT_TRUE(flags_.halt);
}

// ftd's end asks twice: a pause, and then a cancel before the worker has ended.
TEST_F(ControlServerTest, TheDaemonsNextRequestArrivesToo) {
  ControlClient client(dir_);
  v1::ControlRequest request;
  request.mutable_stop()->set_save(true);
  ASSERT_TRUE(client.Send(request).ok());
  for (const auto end = std::chrono::steady_clock::now() + kDeadline;
       !flags_.stop && std::chrono::steady_clock::now() < end;)
    std::this_thread::sleep_for(std::chrono::milliseconds(1));
  ASSERT_TRUE(flags_.stop);
  request.mutable_stop()->set_save(false);
  ASSERT_TRUE(client.Send(request).ok());
  EXPECT_EQ(abandoned_.get_future().wait_for(kDeadline), std::future_status::ready);
}

TEST_F(ControlServerTest, StopWithoutSavingAbandons) {
  v1::ControlRequest request;
  request.mutable_stop();
  EXPECT_TRUE(Send(request.SerializeAsString()).ok());
  EXPECT_EQ(abandoned_.get_future().wait_for(kDeadline), std::future_status::ready);
}

TEST_F(ControlServerTest, StopWithAResultHaltsOnly) {
  v1::ControlRequest request;
  request.mutable_stop()->set_save(true);
  request.mutable_stop()->set_finish(true);
  EXPECT_TRUE(Send(request.SerializeAsString()).ok());
  EXPECT_TRUE(flags_.halt);
  EXPECT_FALSE(flags_.stop);
}

TEST_F(ControlServerTest, GarbageIsRefusedAndTheServerContinues) {
  for (const std::string& bytes :
       {std::string("\xff\xff\xff garbage"), std::string("\x00", 1), std::string(4096, 'a')}) {
    EXPECT_FALSE(Send(bytes).ok());
  }
  v1::ControlRequest request;
  request.mutable_stop()->set_save(true);
  EXPECT_TRUE(Send(request.SerializeAsString()).ok());
}

TEST_F(ControlServerTest, TermSignalCountsAsStopWithSaving) {
  ASSERT_EQ(::kill(::getpid(), SIGTERM), 0);
  const auto end = std::chrono::steady_clock::now() + kDeadline;
  while (!flags_.stop && std::chrono::steady_clock::now() < end) std::this_thread::yield();
  EXPECT_TRUE(flags_.stop);
}

}  // namespace
}  // namespace ftd
