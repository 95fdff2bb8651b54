// Short ways to say what an absl::Status or StatusOr must be.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/error.h"

namespace ftd {

inline absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

inline constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
inline constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;

}  // namespace ftd

#define EXPECT_OK(expr) EXPECT_TRUE(::ftd::StatusOf(expr).ok()) << ::ftd::StatusOf(expr)
#define ASSERT_OK(expr) ASSERT_TRUE(::ftd::StatusOf(expr).ok()) << ::ftd::StatusOf(expr)
// Fails unless `expr` is an error of `code` and `reason` whose message holds `text`.
#define EXPECT_ERROR(expr, expected_code, reason, text)                                \
  do {                                                                                 \
    const absl::Status status_under_test = ::ftd::StatusOf(expr);                      \
    EXPECT_EQ(status_under_test.code(), expected_code) << status_under_test;           \
    EXPECT_EQ(::ftd::ReasonNameOf(status_under_test), reason) << status_under_test;    \
    EXPECT_THAT(std::string(status_under_test.message()), ::testing::HasSubstr(text)); \
  } while (false)
