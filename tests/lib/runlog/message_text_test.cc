#include "lib/runlog/message_text.h"

#include <google/protobuf/stubs/logging.h>
#include <google/protobuf/wrappers.pb.h>
#include <gtest/gtest.h>

#include "ftd/v1/job.pb.h"
#include "ftd/v1/worker.pb.h"

namespace ftd {
namespace {

std::string WireBytes(const google::protobuf::Message& message) {
  const google::protobuf::LogSilencer silencer;
  return message.SerializeAsString();
}

TEST(MessageText, TextsAreRepairedAtAnyDepth) {
  v1::WorkerEvent event;
  event.mutable_time()->set_seconds(7);
  v1::DataReport& report = *event.mutable_data_report();
  report.set_rows_read(1LL << 40);
  report.add_skipped_reasons("whole");
  report.add_skipped_reasons("caf\xE9");
  report.add_samples()->add_parts()->set_text("\xE3\x81 and \xFF");
  v1::WorkerEvent parsed;
  EXPECT_FALSE(parsed.ParseFromString(WireBytes(event)));  // what the repair is for
  ASSERT_TRUE(ParseRepairingText(WireBytes(event), &parsed));
  report.set_skipped_reasons(1, "caf\uFFFD");
  report.mutable_samples(0)->mutable_parts(0)->set_text("\uFFFD and \uFFFD");
  EXPECT_EQ(WireBytes(parsed), WireBytes(event));
}

TEST(MessageText, KeysAndValuesOfMapsAreTexts) {
  v1::Job job, parsed;
  (*job.mutable_labels())["k\x80"] = "v\xC3";
  ASSERT_TRUE(ParseRepairingText(WireBytes(job), &parsed));
  EXPECT_EQ(parsed.labels().at("k\uFFFD"), "v\uFFFD");
}

TEST(MessageText, FieldsOfBytesStayAsTheyAre) {
  google::protobuf::BytesValue value, parsed;
  value.set_value("\xFF\x80");
  ASSERT_TRUE(ParseRepairingText(WireBytes(value), &parsed));
  EXPECT_EQ(parsed.value(), value.value());
}

TEST(MessageText, WhatIsNotAMessageIsRefused) {
  v1::WorkerEvent parsed;
  EXPECT_FALSE(ParseRepairingText("\xEE\xEE\xEE", &parsed));
  EXPECT_FALSE(ParseRepairingText(std::string("\x0A\x7F\x00", 3), &parsed));  // cut short
  EXPECT_TRUE(ParseRepairingText("", &parsed));
}

}  // namespace
}  // namespace ftd
