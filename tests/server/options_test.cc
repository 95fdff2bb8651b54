#include "server/host/options.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/host/listen_address.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;

class OptionsTest : public testing::Test {
 protected:
  absl::StatusOr<Options> Load(const std::string& toml, const Settings& flags = {},
                               const Settings& environment = {}) {
    const auto path = dir_.path() / "ftd.toml";
    if (const absl::Status written = WriteFileAtomically(path, toml); !written.ok()) return written;
    return LoadOptions(flags, environment, path);
  }
  TempDir dir_;
};

TEST_F(OptionsTest, FlagsBeatTheEnvironmentWhichBeatsTheFile) {
  const std::string toml = "max_queued = 1\nstate_dir = '/file'\nworker = '/file/worker'\n";
  const auto options =
      Load(toml, {{"max_queued", "3"}}, {{"max_queued", "2"}, {"state_dir", "/env"}});
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->max_queued, 3);
  EXPECT_EQ(options->state_dir, "/env");
  EXPECT_EQ(options->worker, "/file/worker");
  EXPECT_EQ(options->stop_grace_seconds, 60);
}

TEST_F(OptionsTest, ListsAndModels) {
  const auto options = Load(
      "listen = ['unix:/tmp/a.sock', '127.0.0.1:0']\ndataset_roots = "
      "'/data'\n[models]\n\"llama3.1-8b\" = '/m/8b'\n");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_THAT(options->listen, ElementsAre("unix:/tmp/a.sock", "127.0.0.1:0"));
  EXPECT_THAT(options->dataset_roots, ElementsAre("/data"));
  EXPECT_EQ(options->models.at("llama3.1-8b"), "/m/8b");
}

TEST_F(OptionsTest, WhatIsPrintedIsTakenBack) {
  const auto options = Load("listen = 'unix:/tmp/a.sock'\nmax_queued = 7\n[models]\na = '/m/a'\n");
  ASSERT_TRUE(options.ok()) << options.status();
  const auto again = Load(OptionsToToml(*options));
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(OptionsToToml(*again), OptionsToToml(*options));
  EXPECT_EQ(again->max_queued, 7);
}

TEST_F(OptionsTest, BadFilesAreRefusedWithTheirPlace) {
  const struct {
    const char* toml;
    const char* message;
  } kRows[] = {
      {"max_queud = 1", "did you mean \"max_queued\""},
      {"\nmax_queued = 'many'", "line 2"},
      {"max_queued = 'many'", "must be a whole number"},
      {"max_queued = 0", "must be 1 to 1000000; got 0"},
      {"state_dir = 5", "must be a string"},
      {"listen = [1]", "must be a list of strings"},
      {"listen = 5", "must be a string or a list"},
      {"listen = '0.0.0.0:7443'", "not on loopback"},
      {"listen = 'example.org:7443'", "not on loopback"},
      {"listen = 'unix:'", "has no path"},
      {"listen = '127.0.0.1:70000'", "port from 0 to 65535"},
      {"tls_cert = '/c'", "needs tls_key"},
      {"tls_key = '/k'", "tls_key needs tls_cert"},
      {"tls_client_ca = '/ca'", "needs tls_cert and tls_key"},
      {"metrics_listen = 'nowhere'", "is not HOST:PORT"},
      {"log_format = 'xml'", "must be one of text, logfmt, json; got xml"},
      {"log_level = 'debug'", "must be one of info, warning, error; got debug"},
      {"dataset_roots = ['data']", "not an absolute path"},
      {"models = 5", "must be a table"},
      {"[models]\na = 'relative'", "must be the absolute path"},
      {"max_queued = ", "line 1"},
  };
  for (const auto& row : kRows) {
    const auto options = Load(row.toml);
    ASSERT_FALSE(options.ok()) << row.toml;
    EXPECT_EQ(ReasonOf(options.status()), Reason::kConfigInvalid) << row.toml;
    EXPECT_THAT(std::string(options.status().message()), HasSubstr(row.message)) << row.toml;
  }
  EXPECT_FALSE(LoadOptions({}, {}, dir_.path() / "absent.toml").ok());
}

TEST_F(OptionsTest, WithTlsAnyHostIsServed) {
  const auto options = Load("listen = '0.0.0.0:7443'\ntls_cert = '/c'\ntls_key = '/k'");
  ASSERT_TRUE(options.ok()) << options.status();
  EXPECT_EQ(options->token_file, options->state_dir + "/access-tokens");
}

TEST_F(OptionsTest, BadFlagsNameTheFlag) {
  const auto options = Load("", {{"stop_grace_seconds", "soon"}});
  EXPECT_THAT(std::string(options.status().message()), HasSubstr("--stop-grace-seconds"));
}

TEST(ListenAddress, ALongPathIsRefused) {
  EXPECT_TRUE(ParseListenAddress("unix:/" + std::string(106, 'x'), false).ok());
  EXPECT_FALSE(ParseListenAddress("unix:/" + std::string(107, 'x'), true).ok());
}

}  // namespace
}  // namespace ftd
