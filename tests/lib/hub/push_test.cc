// The parts of a push that need no server; ftd_push_test.py has the rest.
#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/hub/model_license.h"
#include "lib/hub/push.h"
#include "lib/hub/transport/blob_upload.h"
#include "lib/hub/transport/repo_writes.h"
#include "lib/hub/transport/url.h"
#include "lib/spec/repo_name.h"

namespace ftd::hub {
namespace {

using Json = nlohmann::json;

const std::string kNewCommit(40, 'c');

class Writes : public testing::Test {
 protected:
  const Settings settings_{.endpoint = "https://hub.example", .cache_dir = "", .token_path = ""};
  const std::string token_ = "hf_secret", branch_ = "a/b";
  const RepoId repo_{RepoType::kModel, "owner/name"};
  const WriteTarget target_{settings_, token_, repo_, branch_, absl::Seconds(1)};

  absl::StatusOr<UploadPlan> Plan(const std::string& answer, int64_t size) const {
    return ParseUploadPlan(target_, Json::parse(answer), size);
  }
};

// By `git check-ref-format --branch`, but for HEAD, commits and full refs, which it takes.
TEST(BranchName, IsOneOfGits) {
  for (const char* good : {"main", "v1.0", "a/b", "feature/x-1", "\xC3\xA9", "a@b"})
    EXPECT_TRUE(IsBranchName(good)) << good;
  for (const char* bad :
       {"",      "-a",  "a..b",   "a b",          "a~1",
        "a^",    "a:b", "a?",     "a*",           "a[",
        "a\\b",  "/a",  "a/",     "a//b",         ".a",
        "a/.b",  "a.",  "a.lock", "a.lock/b",     "@",
        "a@{1}", "a\n", "HEAD",   "refs/heads/a", "0123456789abcdef0123456789abcdef01234567"})
    EXPECT_FALSE(IsBranchName(bad)) << bad;
}

TEST(Url, SameOriginIsSchemeHostAndPort) {
  EXPECT_TRUE(SameOrigin("https://a/x", "https://A:443/y?z"));
  for (const char* other :
       {"http://a/x", "https://b/x", "https://a:444/x", "https://a.b/x", "https://a@b/x", "a", ""})
    EXPECT_FALSE(SameOrigin("https://a/x", other)) << other;
}

// As in cards on the hub: https://huggingface.co/docs/hub/model-cards.
TEST(LicenseOfCard, IsWhatTheMetadataSays) {
  const auto ids = [](const std::string& yaml) {
    return LicenseOfCard(absl::StrCat("---\n", yaml, "\n---\n# A model\n")).ids;
  };
  using Ids = std::vector<std::string>;
  EXPECT_EQ(ids("license: apache-2.0\ntags: [a]"), Ids{"apache-2.0"});
  EXPECT_EQ(ids("license: [mit, llama3.1]"), (Ids{"mit", "llama3.1"}));
  EXPECT_EQ(ids("license:\n- mit\n- 'no such: one'"), Ids{"mit"});
  for (const char* none : {"", "tags: [a]", "license: Apache 2.0", "license: {a: b}",
                           "license:", "license: [", "license: \"a\\nb: c\"", "- license: mit"})
    EXPECT_EQ(ids(none), Ids()) << none;
  EXPECT_EQ(LicenseOfCard("license: mit\n").ids, Ids()) << "no metadata";
  const License other =
      LicenseOfCard("---\nlicense: other\nlicense_name: house\nlicense_link: LICENSE\n---\n");
  EXPECT_EQ(other.name, "house");
  EXPECT_EQ(other.link, "LICENSE");
}

TEST_F(Writes, ModesAreOfAllFiles) {
  const auto modes = ParseUploadModes(
      repo_, Json::parse(R"({"files": [{"path": "a", "uploadMode": "lfs", "shouldIgnore": false},
        {"path": "b", "uploadMode": "regular"},
        {"path": "c", "uploadMode": "lfs", "shouldIgnore": true}]})"),
      {"a", "b", "c"});
  ASSERT_TRUE(modes.ok()) << modes.status();
  EXPECT_EQ(modes->at("a"), UploadMode::kLfs);
  EXPECT_EQ(modes->at("b"), UploadMode::kRegular);
  EXPECT_EQ(modes->at("c"), UploadMode::kIgnored);
  for (const char* bad :
       {"{}", R"({"files": 3})", R"({"files": [3]})", R"({"files": []})",
        R"({"files": [{"path": "a", "uploadMode": "xet"}]})",
        R"({"files": [{"path": 3, "uploadMode": "lfs"}]})",
        R"({"files": [{"path": "a", "uploadMode": "lfs", "shouldIgnore": "yes"}]})"}) {
    EXPECT_EQ(ReasonOf(ParseUploadModes(repo_, Json::parse(bad), {"a"}).status()),
              Reason::kHubProtocol)
        << bad;
  }
}

TEST_F(Writes, APlanIsWholeOrInParts) {
  const auto there = Plan(R"({"objects": [{"oid": "x", "size": 5}]})", 5);
  ASSERT_TRUE(there.ok()) << there.status();
  EXPECT_EQ(there->upload, "");
  const auto whole = Plan(R"({"objects": [{"actions": {"upload": {"href": "https://s3/x?sig"},
      "verify": {"href": "https://huggingface.co/owner/name.git/verify"}}}]})",
                          5);
  ASSERT_TRUE(whole.ok()) << whole.status();
  EXPECT_EQ(whole->upload, "https://s3/x?sig");
  EXPECT_EQ(whole->verify, "https://hub.example/owner/name.git/verify") << "of the mirror";
  EXPECT_TRUE(whole->parts.empty());
  const auto parts = Plan(R"({"objects": [{"actions": {"upload": {"href": "https://h/done",
      "header": {"chunk_size": "2", "10": "https://s3/c", "2": "https://s3/b",
                 "00001": "https://s3/a", "x": "y"}}}}]})",
                          5);
  ASSERT_TRUE(parts.ok()) << parts.status();
  EXPECT_EQ(parts->part_size, 2);
  EXPECT_EQ(parts->parts,
            (std::vector<std::string>{"https://s3/a", "https://s3/b", "https://s3/c"}));
}

TEST_F(Writes, APlanThatMakesNoSenseIsRefused) {
  const auto upload = [](const std::string& upload) {
    return absl::StrCat(R"({"objects": [{"actions": {"upload": )", upload, "}}]}");
  };
  for (const std::string& bad :
       {std::string("{}"), std::string(R"({"objects": []})"), std::string(R"({"objects": [1, 2]})"),
        upload("{}"), upload(R"({"href": 3})"), upload(R"({"href": "http://s3/x"})"),
        upload(R"({"href": "file:///etc/passwd"})"),
        upload(R"({"href": "https://a", "header": {"chunk_size": 0}})"),
        upload(R"({"href": "https://a", "header": {"chunk_size": "x"}})"),
        upload(R"({"href": "https://a", "header": {"chunk_size": 2, "1": "https://a"}})"),
        upload(R"({"href": "https://a", "header": {"chunk_size": 9, "1": "http://a"}})")}) {
    EXPECT_EQ(ReasonOf(Plan(bad, 5).status()), Reason::kHubProtocol) << bad;
  }
  const auto refused =
      Plan(R"({"objects": [{"error": {"code": 413, "message": "too large for you"}}]})", 5);
  EXPECT_EQ(ReasonOf(refused.status()), Reason::kHubRefused);
  EXPECT_TRUE(absl::StrContains(refused.status().message(), "too large for you"));
}

TEST_F(Writes, ACommitIsALineForEachFile) {
  std::vector<OutgoingFile> files;
  files.push_back(*MakeOutgoing("hello\n", "a/b.txt"));
  files.push_back(*MakeOutgoing("large", "x.safetensors"));
  files.push_back(*MakeOutgoing("ignored", "c"));
  files[1].sha256 = "5891b5b5";
  const auto request = CommitRequest(target_, "Mine", kNewCommit,
                                     {{&files[0], UploadMode::kRegular},
                                      {&files[1], UploadMode::kLfs},
                                      {&files[2], UploadMode::kIgnored}});
  ASSERT_TRUE(request.ok()) << request.status();
  EXPECT_EQ(request->url, "https://hub.example/api/models/owner/name/commit/a%2fb");
  EXPECT_EQ(
      *request->body,
      absl::StrCat(
          R"({"key":"header","value":{"description":"","parentCommit":")", kNewCommit,
          R"(","summary":"Mine"}})", "\n",
          R"({"key":"file","value":{"content":"aGVsbG8K","encoding":"base64","path":"a/b.txt"}})",
          "\n",
          R"({"key":"lfsFile","value":{"algo":"sha256","oid":"5891b5b5","path":"x.safetensors","size":5}})",
          "\n"));
}

TEST_F(Writes, AnErrorHasTheHubsWordsAndNoToken) {
  const auto error = [&](int status, const std::string& body) {
    HttpResponse response;
    response.status = status;
    response.body = body;
    return WriteError(response, target_, "the commit");
  };
  const struct {
    int status;
    Reason reason;
  } kTable[] = {{400, Reason::kHubRefused},     {401, Reason::kTokenInvalid},
                {403, Reason::kHubRefused},     {404, Reason::kHubRefused},
                {408, Reason::kHubUnreachable}, {409, Reason::kHubRefused},
                {413, Reason::kHubRefused},     {422, Reason::kHubRefused},
                {429, Reason::kHubUnreachable}, {500, Reason::kHubUnreachable},
                {302, Reason::kHubProtocol},    {100, Reason::kHubProtocol}};
  for (const auto& [status, reason] : kTable) {
    EXPECT_EQ(ReasonOf(error(status, "")), reason) << status;
    EXPECT_FALSE(error(status, "").ok());
  }
  const absl::Status refused = error(403, R"({"error": "hf_secret may not\n\u001b[1m"})");
  EXPECT_FALSE(absl::StrContains(refused.message(), "hf_secret")) << refused;
  EXPECT_TRUE(absl::StrContains(error(422, R"({"message": "so it is"})").message(), "so it is"));
  EXPECT_TRUE(absl::StrContains(error(422, "<html>").message(), "status 422"));
}

TEST_F(Writes, ACommitsAnswerNamesIt) {
  EXPECT_EQ(*ParseCommit(repo_, absl::StrCat(R"({"commitOid": ")", kNewCommit, R"("})")),
            kNewCommit);
  for (const char* bad : {"", "[]", "{}", R"({"commitOid": 3})", R"({"commitOid": "main"})"})
    EXPECT_EQ(ReasonOf(ParseCommit(repo_, bad).status()), Reason::kHubProtocol) << bad;
}

}  // namespace
}  // namespace ftd::hub
