// Who may do what: the table against the API, and Decide over all pairs.
#include "server/requests/access_table.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

#include "ftd/v1/fine_tuning.pb.h"

namespace ftd {
namespace {

// A method that nobody thought of would be refused to nobody.
TEST(Access, TheTableHasEveryMethodOnceInTheOrderOfTheApi) {
  const auto* service = v1::SubmitJobRequest::descriptor()->file()->FindServiceByName("FineTuning");
  ASSERT_NE(service, nullptr);
  ASSERT_EQ(service->method_count(), static_cast<int>(AccessTable().size()));
  for (int i = 0; i < service->method_count(); ++i) {
    EXPECT_EQ(service->method(i)->name(), AccessTable()[static_cast<size_t>(i)].method);
    // A request that names a job is judged by that job.
    const bool names_job = service->method(i)->input_type()->FindFieldByName("job") != nullptr;
    const AccessRow& row = AccessTable()[static_cast<size_t>(i)];
    EXPECT_EQ(names_job, row.touches != Touches::kNoJob) << row.method;
    // In a oneof, the job may be left out for another field.
    if (!names_job) continue;
    const auto* job = service->method(i)->input_type()->FindFieldByName("job");
    EXPECT_EQ(row.may_name_none, job->real_containing_oneof() != nullptr) << row.method;
  }
}

TEST(Access, DecidesOverAllPairs) {
  const std::optional<uid_t> nowhere, here = 1000;
  for (const AccessRow& row : AccessTable()) {
    for (const Role role : {Role::kRead, Role::kSubmit, Role::kAdmin}) {
      for (const auto& uid : {nowhere, here}) {
        for (const std::string owner : {"ada", "bob", ""}) {
          for (const Visibility visibility : {Visibility::kGroup, Visibility::kOwner}) {
            const Caller caller{.owner = "ada", .uid = uid, .role = role};
            const bool own = owner == "ada" || role == Role::kAdmin;
            const bool of_a_job = row.touches != Touches::kNoJob;
            Verdict expected = Verdict::kAllowed;
            if (of_a_job && !own && row.touches == Touches::kChanges) expected = Verdict::kNotOwner;
            if (role < row.least) expected = Verdict::kRoleTooLow;
            if (row.local && !uid.has_value()) expected = Verdict::kNotLocal;
            if (of_a_job && !own && visibility == Visibility::kOwner) expected = Verdict::kHidden;
            EXPECT_EQ(Decide(caller, row, owner, visibility), expected)
                << row.method << " by " << RoleName(role) << " of a job of \"" << owner << "\"";
          }
        }
      }
    }
  }
}

TEST(Access, ACallerWithoutANameOwnsNothing) {
  const Caller nameless{.owner = "", .uid = std::nullopt, .role = Role::kSubmit};
  EXPECT_EQ(Decide(nameless, AccessRowOf("CancelJob"), "", Visibility::kGroup), Verdict::kNotOwner);
}

// Spelled out, for the rows that would hurt most.
TEST(Access, WhatTheRolesMay) {
  const auto may = [](Role role, const char* method, const char* owner) {
    const Caller caller{.owner = "token:ci", .uid = std::nullopt, .role = role};
    return Decide(caller, AccessRowOf(method), owner, Visibility::kGroup) == Verdict::kAllowed;
  };
  EXPECT_TRUE(may(Role::kRead, "DownloadResult", "ada"));
  EXPECT_FALSE(may(Role::kRead, "ExportJob", "token:ci"));  // it works for whoever asks
  EXPECT_TRUE(may(Role::kSubmit, "ExportJob", "ada"));      // as DownloadResult
  EXPECT_FALSE(may(Role::kSubmit, "PushResult", "ada"));    // it would publish what is another's
  EXPECT_FALSE(may(Role::kRead, "PushResult", "token:ci"));
  EXPECT_TRUE(may(Role::kSubmit, "PushResult", "token:ci"));
  EXPECT_FALSE(may(Role::kRead, "CancelJob", "token:ci"));
  EXPECT_FALSE(may(Role::kRead, "SubmitJob", ""));
  EXPECT_FALSE(may(Role::kRead, "UploadFile", ""));
  EXPECT_TRUE(may(Role::kSubmit, "CancelJob", "token:ci"));
  EXPECT_FALSE(may(Role::kSubmit, "CancelJob", "ci"));  // a user with the token's name
  EXPECT_FALSE(may(Role::kSubmit, "UpdateJob", "ada"));
  EXPECT_FALSE(may(Role::kSubmit, "RetryJob", "ada"));
  EXPECT_FALSE(may(Role::kSubmit, "DeleteModel", ""));
  EXPECT_TRUE(may(Role::kAdmin, "DeleteJob", "ada"));
  EXPECT_TRUE(may(Role::kAdmin, "DeleteModel", ""));
  EXPECT_FALSE(may(Role::kAdmin, "CreateToken", ""));
}

}  // namespace
}  // namespace ftd
