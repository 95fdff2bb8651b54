#include "lib/base/error.h"

#include <cerrno>

#include "tests/support/expect_status.h"

namespace ftd {
namespace {

TEST(Error, CarriesReasonAndFields) {
  const absl::Status status =
      FieldError({{"lora.rank", "must be 1 to 4096; got 0"}, {"model", "is required"}});
  EXPECT_ERROR(status, absl::StatusCode::kInvalidArgument, "FIELD_INVALID",
               "lora.rank must be 1 to 4096");
  const auto violations = ViolationsOf(status);
  ASSERT_EQ(violations.size(), 2u);
  EXPECT_EQ(violations[0].field, "lora.rank");
  EXPECT_EQ(violations[1].description, "is required");
}

TEST(Error, APrefixKeepsCodeReasonAndFields) {
  const absl::Status status = Prefixed(FieldError({{"seed", "must be an integer"}}), "job 3: ");
  EXPECT_ERROR(status, absl::StatusCode::kInvalidArgument, "FIELD_INVALID", "job 3: ");
  EXPECT_EQ(ViolationsOf(status).size(), 1u);
}

TEST(Error, AStatusOfOthersHasNoReason) {
  EXPECT_EQ(ReasonOf(absl::InternalError("x")), Reason::kNone);
  EXPECT_EQ(ReasonOf(absl::OkStatus()), Reason::kNone);
  EXPECT_TRUE(ViolationsOf(absl::InternalError("x")).empty());
}

TEST(Error, SystemCalls) {
  const struct {
    int error;
    absl::StatusCode code;
    const char* reason;
  } kTable[] = {
      {ENOENT, absl::StatusCode::kNotFound, ""},
      {ENOSPC, absl::StatusCode::kResourceExhausted, "DISK_FULL"},
      {EDQUOT, absl::StatusCode::kResourceExhausted, "DISK_FULL"},
      {EACCES, absl::StatusCode::kFailedPrecondition, "PATH_NOT_WRITABLE"},
      {EPERM, absl::StatusCode::kFailedPrecondition, "PATH_NOT_WRITABLE"},
      {EROFS, absl::StatusCode::kFailedPrecondition, "PATH_NOT_WRITABLE"},
      {EMFILE, absl::StatusCode::kUnavailable, ""},
      {ENFILE, absl::StatusCode::kUnavailable, ""},
      {EIO, absl::StatusCode::kUnavailable, ""},
      {EINVAL, absl::StatusCode::kInternal, "INTERNAL"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.error);
    const absl::Status status = ErrnoError(row.error, "open /x/y");
    EXPECT_EQ(status.code(), row.code);
    EXPECT_EQ(ReasonNameOf(status), row.reason);
    EXPECT_THAT(std::string(status.message()), testing::HasSubstr("open /x/y"));
  }
}

}  // namespace
}  // namespace ftd
