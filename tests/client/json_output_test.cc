#include "client/text/json_output.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "ftd/v1/job.pb.h"
#include "lib/base/json.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using nlohmann::ordered_json;

TEST(ToJson, PrintsZerosNullsAndNames) {
  ftd::v1::Job job;
  job.set_id("ft-1");
  job.set_state(ftd::v1::Job::SUCCEEDED);
  job.mutable_spec()->mutable_dataset()->set_upload_sha256("abc");
  job.mutable_spec()->set_max_steps(0);
  job.mutable_last_step()->set_tokens_total(int64_t{1} << 60);
  (*job.mutable_labels())["b"] = "2";
  (*job.mutable_labels())["a"] = "1";
  job.mutable_create_time()->set_seconds(1'000'000'000);
  const ordered_json json = ToJson(job);
  EXPECT_EQ(json["state"], "SUCCEEDED");
  EXPECT_EQ(json["failure_reason"], "FAILURE_REASON_UNSPECIFIED");
  EXPECT_EQ(json["message"], "");
  EXPECT_EQ(json["position"], 0);
  EXPECT_EQ(json["attempts"], ordered_json::array());
  EXPECT_TRUE(json["end_time"].is_null());
  EXPECT_EQ(json["create_time"], "2001-09-09T01:46:40Z");  // the known moment of Unix time 1e9
  EXPECT_EQ(json["last_step"]["tokens_total"].dump(), "1152921504606846976");
  EXPECT_EQ(json["labels"].dump(), R"({"a":"1","b":"2"})");
  EXPECT_EQ(json["spec"]["max_steps"], 0);
  EXPECT_TRUE(json["spec"].contains("batch_size"));
  EXPECT_TRUE(json["spec"]["batch_size"].is_null());
  EXPECT_EQ(json["spec"]["dataset"]["upload_sha256"], "abc");
  EXPECT_FALSE(json["spec"]["dataset"].contains("server_path")) << "of a oneof only what is set";
}

TEST(ToJson, FieldsStandInTheOrderOfTheProto) {
  std::vector<std::string> keys;
  const ordered_json json = ToJson(ftd::v1::Checkpoint());
  for (const auto& [key, value] : json.items()) keys.push_back(key);
  EXPECT_EQ(keys, (std::vector<std::string>{"step", "path", "size_bytes", "create_time", "attempt",
                                            "write_seconds"}));
}

TEST(ToJson, UnknownEnumValuesAreNumbers) {
  ftd::v1::Job job;
  job.set_state(static_cast<ftd::v1::Job::State>(77));
  EXPECT_EQ(ToJson(job)["state"], 77);
}

TEST(JsonNumber, KeepsEveryBitAndNamesWhatJsonCannotSay) {
  EXPECT_EQ(JsonNumber(0.1).dump(), "0.1");
  EXPECT_EQ(JsonNumber(1.0 / 3).dump(), "0.3333333333333333");
  EXPECT_EQ(JsonNumber(std::nan("")), "NaN");
  EXPECT_EQ(JsonNumber(-std::numeric_limits<double>::infinity()), "-Infinity");
}

TEST(ToYaml, BlocksAndEscapes) {
  const ordered_json value = {{"a", 1},
                              {"list", {1, {{"k", "v: #\n"}}}},
                              {"empty", ordered_json::array()},
                              {"none", nullptr}};
  EXPECT_EQ(
      ToYaml(value),
      "\"a\": 1\n\"list\":\n  - 1\n  -\n    \"k\": \"v: #\\n\"\n\"empty\": []\n\"none\": null\n");
}

}  // namespace
}  // namespace ftd
