#include "lib/base/nearest.h"

#include <gtest/gtest.h>

namespace ftd {
namespace {

// Distances from the literature: kitten/sitting and Saturday/Sunday are Wagner and Fischer's
// examples; "ca"/"abc" is the usual case that tells optimal string alignment (3) from full Damerau
// (2).
TEST(EditDistance, KnownPairs) {
  const struct {
    const char* a;
    const char* b;
    int distance;
  } kRows[] = {
      {"", "", 0},
      {"abc", "", 3},
      {"", "abc", 3},
      {"kitten", "sitting", 3},
      {"Saturday", "Sunday", 3},
      {"modle", "model", 1},
      {"ca", "abc", 3},
      {"same", "same", 0},
  };
  for (const auto& row : kRows)
    EXPECT_EQ(EditDistance(row.a, row.b), row.distance) << row.a << " " << row.b;
}

TEST(Nearest, SuggestsTyposOnly) {
  const std::vector<std::string> verbs = {"submit", "show", "ls", "logs", "watch", "wait"};
  EXPECT_EQ(Nearest("sbumit", verbs), "submit");
  EXPECT_EQ(Nearest("log", verbs), "logs");
  EXPECT_EQ(Nearest("wacth", verbs), "watch");
  EXPECT_EQ(Nearest("frobnicate", verbs), "");
  EXPECT_EQ(Nearest("x", {}), "");
}

TEST(Nearest, PrefersSwappedLettersToForgottenOnes) {
  EXPECT_EQ(Nearest("--modle", {"--mode", "--model"}), "--model");
}

}  // namespace
}  // namespace ftd
