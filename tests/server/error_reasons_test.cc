// The reasons of the API are those of the code.
#include <set>
#include <string>

#include "ftd/v1/fine_tuning.pb.h"
#include "gtest/gtest.h"
#include "lib/base/error.h"
#include "server/streams/grpc_status.h"

namespace ftd {
namespace {

TEST(ErrorReasons, AreThoseOfTheProto) {
  std::set<std::string> in_proto, in_table;
  const auto* reasons = v1::Errors::ErrorReason_descriptor();
  for (int i = 0; i < reasons->value_count(); ++i) {
    if (reasons->value(i)->number() != 0) in_proto.insert(reasons->value(i)->name());
  }
  for (const ReasonRow& row : ReasonTable()) {
    if (row.api) in_table.insert(row.name);
  }
  EXPECT_EQ(in_proto, in_table);
}

TEST(ErrorReasons, EachHasARowOfItsOwn) {
  std::set<std::string> names;
  for (const ReasonRow& row : ReasonTable()) {
    EXPECT_TRUE(names.insert(row.name).second) << row.name;
    EXPECT_EQ(&RowOf(row.reason), &row) << row.name;
    EXPECT_EQ(ReasonNamed(row.name), row.reason);
    const absl::Status status = Error(row.reason, "what happened");
    EXPECT_EQ(status.code(), row.code);
    EXPECT_EQ(ExitCodeOf(status), row.exit_code);
  }
  EXPECT_EQ(ReasonNamed("OF_ANOTHER_RELEASE"), Reason::kNone);
  EXPECT_EQ(ExitCodeOf(ErrorNamed(absl::StatusCode::kNotFound, "OF_ANOTHER_RELEASE", "x")), 66);
}

}  // namespace
}  // namespace ftd
