#include "lib/cli/bare_flag.h"

#include "gmock/gmock.h"

namespace ftd {
namespace {

using testing::ElementsAre;

std::vector<std::string> ReadArgs(std::vector<std::string> args) {
  return WithBareValue(std::move(args), {{"--keep", "--keep_all"}, "on", [](const auto& word) {
                                           return word == "on" || word == "off";
                                         }});
}

TEST(WithBareValue, TakesOnlyAWordThatIsItsValue) {
  EXPECT_THAT(ReadArgs({"--keep"}), ElementsAre("--keep=on"));
  EXPECT_THAT(ReadArgs({"--keep", "preset"}), ElementsAre("--keep=on", "preset"));
  EXPECT_THAT(ReadArgs({"--keep", "--seed", "3"}), ElementsAre("--keep=on", "--seed", "3"));
  EXPECT_THAT(ReadArgs({"preset", "--keep_all", "off"}),
              ElementsAre("preset", "--keep_all", "off"));
  EXPECT_THAT(ReadArgs({"--keep=off", "on"}), ElementsAre("--keep=off", "on"));
  EXPECT_THAT(ReadArgs({"--keep", "--keep"}), ElementsAre("--keep=on", "--keep=on"));
}

TEST(WithBareValue, WhatItDoesNotNameStays) {
  EXPECT_THAT(ReadArgs({}), ElementsAre());
  EXPECT_THAT(ReadArgs({"--keeper", "--", "--keep"}), ElementsAre("--keeper", "--", "--keep"));
}

}  // namespace
}  // namespace ftd
