#include "lib/runlog/message_json.h"

#include <gtest/gtest.h>

#include "ftd/v1/worker.pb.h"

namespace ftd {
namespace {

// The expected texts are those of the JSON mapping in protobuf's documentation.
TEST(MessageJson, IsProtobufsOwnUnderTheNamesOfTheProtoFile) {
  v1::AttemptRequest request;
  request.set_job_id("ft-1");
  request.set_host_memory_reserve_bytes(1LL << 40);  // 64 bits are strings
  EXPECT_EQ(MessageToJson(request).value(),
            R"({"job_id":"ft-1","host_memory_reserve_bytes":"1099511627776"})");
  EXPECT_EQ(MessageToJson(request, JsonStyle::kIndented).value(),
            "{\n \"job_id\": \"ft-1\",\n \"host_memory_reserve_bytes\": \"1099511627776\"\n}\n");
}

TEST(MessageJson, UnknownFieldsAreRefusedOrIgnored) {
  const char* kJson = R"({"job_id": "ft-1", "of_a_later_release": {"a": [1]}})";
  v1::AttemptRequest request;
  EXPECT_FALSE(MessageFromJson(kJson, UnknownFields::kRefused, &request).ok());
  ASSERT_TRUE(MessageFromJson(kJson, UnknownFields::kIgnored, &request).ok());
  EXPECT_EQ(request.job_id(), "ft-1");
}

TEST(MessageJson, WhatIsNotTheMessageIsAnError) {
  for (const char* json : {"", "{", "[]", "null x", R"({"attempt": "many"})", R"({"spec": 1})"}) {
    v1::AttemptRequest request;
    EXPECT_TRUE(absl::IsInvalidArgument(MessageFromJson(json, UnknownFields::kIgnored, &request)))
        << json;
  }
}

}  // namespace
}  // namespace ftd
