#include "worker/commands/preview.h"

#include <sstream>

#include "tests/support/expect_status.h"
#include "tests/support/small_tokenizer.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using nlohmann::json;

class PreviewTest : public testing::Test {
 protected:
  PreviewTest() {
    dir_.Write("tokenizer.json", SmallTokenizer().dump());
    dir_.Write("tokenizer_config.json", R"({"eos_token": "<eos>"})");
    options_.model_dir = dir_.path();
    options_.dataset = dir_.Write(
        "rows.jsonl", "{\"text\":\"hello\"}\n{\"text\":\"hello w\"}\n{\"text\":\"x\"}\n");
    options_.n = 2;
  }
  TempDir dir_;
  PreviewOptions options_;
};

TEST_F(PreviewTest, Json) {
  std::ostringstream out;
  EXPECT_OK(Preview(options_, out));
  EXPECT_EQ(json::parse(out.str()), json::parse(R"([
      {"text": "hello<eos>", "input_ids": [261, 259, 262], "labels": [261, 259, 262]},
      {"text": "hello w<eos>", "input_ids": [261, 259, 260, 262], "labels": [261, 259, 260, 262]}])"));
}

TEST_F(PreviewTest, Text) {
  options_.output = "text";
  options_.n = 1;
  options_.seq_length = 2;
  std::ostringstream out;
  EXPECT_OK(Preview(options_, out));
  EXPECT_EQ(out.str(), "row 1: 2 tokens\n261\t261\t\"<bos>\"\n259\t259\t\"hello\"\n");
}

TEST_F(PreviewTest, Refusals) {
  std::ostringstream out;
  options_.n = 0;
  options_.output = "yaml";
  EXPECT_EQ(ViolationsOf(Preview(options_, out)).size(), 2u);
  options_ = {dir_ / "nowhere", options_.dataset};
  EXPECT_ERROR(Preview(options_, out), absl::StatusCode::kNotFound, "MODEL_NOT_FOUND", "nowhere");
  options_ = {dir_.path(), dir_.Write("bad.jsonl", R"({"text":1})")};
  EXPECT_ERROR(Preview(options_, out), absl::StatusCode::kInvalidArgument, "DATASET_INVALID",
               "bad.jsonl line 1");
  EXPECT_EQ(out.str(), "");
}

}  // namespace
}  // namespace ftd
