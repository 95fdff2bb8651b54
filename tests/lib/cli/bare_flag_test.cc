#include "lib/cli/bare_flag.h"

#include "gmock/gmock.h"

namespace ftd {
namespace {

using testing::ElementsAre;

std::vector<std::string> Read(std::vector<std::string> args) {
  return WithBareValue(std::move(args), {{"--keep", "--keep_all"}, "on", [](const auto& word) {
                                           return word == "on" || word == "off";
                                         }});
}

TEST(WithBareValue, TakesOnlyAWordThatIsItsValue) {
  EXPECT_THAT(Read({"--keep"}), ElementsAre("--keep=on"));
  EXPECT_THAT(Read({"--keep", "preset"}), ElementsAre("--keep=on", "preset"));
  EXPECT_THAT(Read({"--keep", "--seed", "3"}), ElementsAre("--keep=on", "--seed", "3"));
  EXPECT_THAT(Read({"preset", "--keep_all", "off"}), ElementsAre("preset", "--keep_all", "off"));
  EXPECT_THAT(Read({"--keep=off", "on"}), ElementsAre("--keep=off", "on"));
  EXPECT_THAT(Read({"--keep", "--keep"}), ElementsAre("--keep=on", "--keep=on"));
}

TEST(WithBareValue, WhatItDoesNotNameStays) {
  EXPECT_THAT(Read({}), ElementsAre());
  EXPECT_THAT(Read({"--keeper", "--", "--keep"}), ElementsAre("--keeper", "--", "--keep"));
}

}  // namespace
}  // namespace ftd
