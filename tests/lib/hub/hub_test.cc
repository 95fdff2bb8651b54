// The parts of the hub client that need no server; the Python tests beside this have the rest.
#include <gtest/gtest.h>

#include <filesystem>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/hub/catalog.h"
#include "lib/hub/selection.h"
#include "lib/hub/sources.h"
#include "lib/hub/transport/cache.h"
#include "lib/hub/transport/digest.h"
#include "lib/hub/transport/repo.h"
#include "tests/support/temp_dir.h"

namespace ftd::hub {
namespace {

namespace fs = std::filesystem;

const std::string kCommit(40, 'c');
const std::string kSha1(40, '1'), kSha256(64, '2');
const RepoId kModelRepo{RepoType::kModel, "owner/name"};

std::string Answer(const std::string& siblings) {
  return absl::StrCat(R"({"sha": ")", kCommit, R"(", "siblings": [)", siblings, "]}");
}

TEST(RepoName, IsOwnerAndName) {
  for (const char* good : {"a/b", "meta-llama/Llama-3.1-8B", "A_1/b.c-d"})
    EXPECT_TRUE(IsRepoName(good)) << good;
  for (const char* bad : {"", "a", "/b", "a/", "a/b/c", "../b", "a/..", "a/b..c", "a/b--c", "-a/b",
                          ".a/b", "a b/c", "a/b\n", "a/b?x", "\xC3\xA9/b"})
    EXPECT_FALSE(IsRepoName(bad)) << bad;
}

TEST(ParseRevision, TakesSizesAndDigestsOfBothKinds) {
  const auto revision = ParseRevision(
      kModelRepo,
      Answer(absl::StrCat(R"({"rfilename": "config.json", "size": 7, "blobId": ")", kSha1,
                          R"("}, {"rfilename": "a/b.safetensors", "size": 9, "blobId": ")", kSha1,
                          R"(", "lfs": {"sha256": ")", kSha256, R"(", "size": 8}})")));
  ASSERT_TRUE(revision.ok()) << revision.status();
  EXPECT_EQ(revision->commit, kCommit);
  ASSERT_EQ(revision->files.size(), 2U);
  EXPECT_EQ(revision->files[0].etag, kSha1);
  EXPECT_EQ(revision->files[1].etag, kSha256);
  EXPECT_EQ(revision->files[1].size, 8);
}

TEST(ParseRevision, RefusesWhatCouldDoHarm) {
  const auto file = [](const std::string& path, const std::string& etag) {
    return Answer(
        absl::StrCat(R"({"rfilename": ")", path, R"(", "size": 1, "blobId": ")", etag, R"("})"));
  };
  const std::vector<std::string> answers = {
      "",
      "[]",
      "null",
      "{",
      R"({"sha": "main", "siblings": []})",
      R"({"sha": 5, "siblings": []})",
      absl::StrCat(R"({"sha": ")", kCommit, R"("})"),
      absl::StrCat(R"({"sha": ")", kCommit, R"(", "siblings": [3]})"),
      file("/etc/passwd", kSha1),
      file("../up", kSha1),
      file("a/../../up", kSha1),
      file("", kSha1),
      file("a//b", kSha1),
      file("a\\\\b", kSha1),
      file("a\\u0000b", kSha1),
      file("a\\nb", kSha1),
      file("good", "../../up"),
      file("good", std::string(40, 'G')),
      file("good", ""),
      Answer(R"({"rfilename": "a", "blobId": "x"})"),
      Answer(absl::StrCat(R"({"rfilename": "a", "size": -4, "blobId": ")", kSha1, R"("})")),
      Answer(absl::StrCat(R"({"rfilename": "a", "size": 1e80, "blobId": ")", kSha1, R"("})")),
      Answer(absl::StrCat(R"({"rfilename": "a", "size": 9999999999999999999, "blobId": ")", kSha1,
                          R"("})"))};
  for (const std::string& answer : answers) {
    const auto revision = ParseRevision(kModelRepo, answer);
    EXPECT_EQ(ReasonNameOf(revision.status()), "HUB_PROTOCOL") << answer << revision.status();
  }
}

TEST(HubErrors, AreToldApart) {
  Settings settings;
  settings.endpoint = "https://hub.test";
  struct Row {
    std::map<std::string, std::string> headers;
    int status;
    bool has_token;
    const char* reason;
    const char* words;
  };
  const Row rows[] = {
      {{{"x-error-code", "GatedRepo"}}, 401, false, "MODEL_GATED", "https://hub.test/owner/name"},
      {{{"x-error-code", "GatedRepo"}}, 403, true, "MODEL_GATED", "ask for it at"},
      {{{"x-error-code", "RepoNotFound"}}, 401, false, "MODEL_NOT_FOUND", "ftctl login"},
      {{{"x-error-code", "RepoNotFound"}}, 404, true, "MODEL_NOT_FOUND", "check the name"},
      {{{"x-error-code", "RevisionNotFound"}}, 404, true, "MODEL_NOT_FOUND", "revision \"v9\""},
      {{{"x-error-message", "Invalid credentials in Authorization header"}},
       401,
       true,
       "TOKEN_INVALID",
       "settings/tokens"},
      {{}, 403, true, "TOKEN_INVALID", "may not read it"},
      {{}, 500, true, "HUB_UNREACHABLE", "status 500"},
      {{}, 429, true, "HUB_UNREACHABLE", "status 429"},
  };
  for (const Row& row : rows) {
    HttpResponse response;
    response.status = row.status;
    response.headers = row.headers;
    const absl::Status error = HubError(response, settings, kModelRepo, "v9", row.has_token);
    EXPECT_EQ(ReasonNameOf(error), row.reason) << error;
    EXPECT_NE(error.message().find(row.words), error.message().npos) << error;
  }
}

TEST(RetryPause, ObeysTheServerWithinReason) {
  HttpResponse response;
  response.headers = {{"retry-after", "7"}};
  EXPECT_EQ(RetryPause(&response, 0), absl::Seconds(7));
  response.headers = {{"retry-after", "99999999"}};
  EXPECT_EQ(RetryPause(&response, 0), absl::Seconds(600));
  response.headers = {{"ratelimit", "\"api\";r=0;t=55"}};
  EXPECT_EQ(RetryPause(&response, 0), absl::Seconds(55));
  response.headers = {{"retry-after", "Wed, 21 Oct 2015 07:28:00 GMT"}};
  for (int attempt : {3, 1000}) {
    EXPECT_GT(RetryPause(&response, attempt), absl::ZeroDuration()) << "the past: by back-off";
    EXPECT_LE(RetryPause(&response, attempt), absl::Seconds(attempt == 3 ? 4 : 30));
  }
}

TEST(BlobDigest, IsTheHubs) {
  // git hash-object of "hello\n", sha256sum of the same.
  const char* kGit = "ce013625030ba8dba906f756967f9e9ca394464a";
  const char* kLfs = "5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";
  for (const char* etag : {kGit, kLfs}) {
    BlobDigest right(KindOf(etag), 6), wrong(KindOf(etag), 6);
    right.Update("hel");
    right.Update("lo\n");
    EXPECT_EQ(right.Hex(), etag);
    wrong.Update("hellO\n");
    EXPECT_NE(wrong.Hex(), etag);
  }
}

TEST(ModelFiles, AreTheOnesThatTrainingNeeds) {
  const auto of = [](const std::vector<const char*>& paths) {
    RepoRevision revision{kModelRepo, kCommit, {}};
    for (const char* path : paths) revision.files.push_back({path, 1, kSha1});
    return ModelFiles(revision);
  };
  const auto sharded =
      of({"README.md", "config.json", "tokenizer.json", "model-00001-of-2.safetensors",
          "model-00002-of-2.safetensors", "model.safetensors.index.json",
          "original/model.safetensors", "pytorch_model.bin", "onnx/model.onnx",
          "consolidated.safetensors", "generation_config.json"});
  ASSERT_TRUE(sharded.ok());
  std::vector<std::string> names;
  for (const RepoFile& file : sharded->files) names.push_back(file.path);
  EXPECT_EQ(names, (std::vector<std::string>{
                       "config.json", "tokenizer.json", "model-00001-of-2.safetensors",
                       "model-00002-of-2.safetensors", "model.safetensors.index.json",
                       "generation_config.json"}));
  EXPECT_EQ(WithoutWeights(*sharded).files.size(), 4U);
  const auto both = of({"config.json", "tokenizer.json", "model-00001-of-1.safetensors",
                        "model.safetensors.index.json", "model.safetensors", "added_tokens.json"});
  ASSERT_TRUE(both.ok());
  names.clear();
  for (const RepoFile& file : both->files) names.push_back(file.path);
  EXPECT_EQ(names, (std::vector<std::string>{"config.json", "tokenizer.json", "model.safetensors",
                                             "added_tokens.json"}));
  EXPECT_EQ(ReasonNameOf(of({"config.json", "tokenizer.json", "pytorch_model.bin"}).status()),
            "MODEL_UNSUPPORTED");
  EXPECT_EQ(ReasonNameOf(of({"config.json", "model.safetensors"}).status()), "MODEL_UNSUPPORTED");
  EXPECT_EQ(ReasonNameOf(of({"tokenizer.json", "model.safetensors"}).status()),
            "MODEL_UNSUPPORTED");
}

TEST(SourcesJson, RoundTrips) {
  const Sources sources{
      "https://hub.test",
      "/cache",
      {{kModelRepo, kCommit, {{"config.json", 7, kSha1}}},
       {{RepoType::kDataset, "o/d"}, kCommit, {{"data/a.parquet", 1LL << 40, kSha256}}}}};
  const std::string json = SourcesToJson(sources);
  const auto again = SourcesFromJson(json);
  ASSERT_TRUE(again.ok()) << again.status();
  EXPECT_EQ(SourcesToJson(*again), json);
  EXPECT_EQ(again->repos[1].files[0].size, 1LL << 40);
  EXPECT_FALSE(SourcesFromJson("{}").ok());
}

class CacheTest : public testing::Test {
 protected:
  void Put(const fs::path& path, const std::string& text) {
    fs::create_directories(path.parent_path());
    ASSERT_TRUE(WriteFileAtomically(path, text).ok());
  }
  TempDir dir_;
  Cache cache_{dir_.path()};
  RepoRevision revision_{kModelRepo, kCommit, {{"deep/er/file", 5, kSha1}}};
};

TEST_F(CacheTest, RefsLeadNowhereElse) {
  EXPECT_TRUE(cache_.WriteRef(kModelRepo, "main", kCommit).ok());
  EXPECT_TRUE(cache_.WriteRef(kModelRepo, "refs/pr/1", kCommit).ok());
  EXPECT_EQ(cache_.ReadRef(kModelRepo, "refs/pr/1"), kCommit);
  EXPECT_EQ(cache_.ReadRef(kModelRepo, kCommit), kCommit);
  Put(dir_.path() / "outside", kCommit);
  EXPECT_EQ(cache_.ReadRef(kModelRepo, "../../outside"), "");
  EXPECT_EQ(cache_.ReadRef(kModelRepo, "/outside"), "");
  EXPECT_EQ(cache_.ReadRef(kModelRepo, ""), "");
}

TEST_F(CacheTest, LinksAreRelativeAndCountOnlyWhole) {
  Put(cache_.Blob(kModelRepo, kSha1), "hello");
  ASSERT_TRUE(cache_.Link(revision_, revision_.files[0]).ok());
  const fs::path link = cache_.Snapshot(kModelRepo, kCommit) / "deep/er/file";
  EXPECT_EQ(fs::read_symlink(link), fs::path("../../../../blobs") / kSha1);
  EXPECT_TRUE(cache_.Has(revision_, revision_.files[0]));
  Put(cache_.Blob(kModelRepo, kSha1), "hell");
  EXPECT_FALSE(cache_.Has(revision_, revision_.files[0]));
  EXPECT_TRUE(cache_.Link(revision_, revision_.files[0]).ok()) << "also where a link is";
}

TEST_F(CacheTest, TheLongestPieceIsAdopted) {
  const fs::path blobs = cache_.Blob(kModelRepo, kSha1).parent_path();
  Put(blobs / (kSha1 + ".incomplete"), "12");
  Put(blobs / (kSha1 + ".0123abcd.incomplete"), "1234");
  Put(blobs / (kSha1 + ".76543210.incomplete"), "123");
  Put(blobs / (kSha256 + ".incomplete"), "another's");
  EXPECT_EQ(cache_.FetchedBytes(kModelRepo, {"f", 100, kSha1}), 4);
  ASSERT_TRUE(cache_.AdoptPieces(kModelRepo, kSha1).ok());
  EXPECT_EQ(*ReadFile(cache_.Incomplete(kModelRepo, kSha1)), "1234");
  EXPECT_EQ(std::distance(fs::directory_iterator(blobs), fs::directory_iterator()), 2);
}

TEST_F(CacheTest, OneLockAtATime) {
  auto lock = cache_.TryLock(kModelRepo, kSha1);
  ASSERT_TRUE(lock.ok() && lock->has_value()) << lock.status();
  EXPECT_FALSE(cache_.TryLock(kModelRepo, kSha1)->has_value());
  EXPECT_TRUE(cache_.TryLock(kModelRepo, kSha256)->has_value());
  lock->reset();
  EXPECT_TRUE(cache_.TryLock(kModelRepo, kSha1)->has_value());
}

TEST_F(CacheTest, DamageIsFoundAndRemovalIsWhole) {
  const std::string git = "ce013625030ba8dba906f756967f9e9ca394464a";
  Put(cache_.Blob(kModelRepo, git), "hello\n");
  Put(cache_.Blob(kModelRepo, kSha256), "not these");
  const auto damaged = VerifyRepo(
      cache_, kModelRepo, [](int64_t, int64_t) {}, [] { return false; });
  ASSERT_TRUE(damaged.ok()) << damaged.status();
  EXPECT_EQ(*damaged, std::vector<std::string>{"blobs/" + kSha256});
  ASSERT_EQ(ListCache(cache_).size(), 1U);
  EXPECT_EQ(ListCache(cache_)[0].repo.name, "owner/name");
  const fs::path left = cache_.root() / ".locks" / ".tmp-removed-1-models--owner--name";
  Put(left / "blobs" / kSha1, "of a removal that was killed");
  ASSERT_TRUE(RemoveRepo(cache_, kModelRepo).ok());
  EXPECT_TRUE(ListCache(cache_).empty());
  EXPECT_FALSE(fs::exists(left));
  EXPECT_EQ(RemoveRepo(cache_, kModelRepo).status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ftd::hub
