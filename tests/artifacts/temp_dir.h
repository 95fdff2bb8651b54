// What the tests of artifacts share: a folder that goes away, and short ways to say what an error
// must be.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "artifacts/error.h"

namespace ftd {

class TempDir {
 public:
  TempDir() {
    std::string pattern = (std::filesystem::temp_directory_path() / "ftd-test-XXXXXX").string();
    path_ = ::mkdtemp(pattern.data());
  }
  ~TempDir() { std::filesystem::remove_all(path_); }
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::filesystem::path operator/(std::string_view name) const { return path_ / name; }
  // Writes a file below the folder and returns its path.
  std::filesystem::path Write(std::string_view name, std::string_view bytes) const {
    auto path = path_ / name;
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary)
        .write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    return path;
  }

 private:
  std::filesystem::path path_;
};

inline absl::Status StatusOf(const absl::Status& status) { return status; }
template <typename T>
absl::Status StatusOf(const absl::StatusOr<T>& result) {
  return result.status();
}

}  // namespace ftd

#define EXPECT_OK(expr) EXPECT_TRUE(::ftd::StatusOf(expr).ok()) << ::ftd::StatusOf(expr)
#define ASSERT_OK(expr) ASSERT_TRUE(::ftd::StatusOf(expr).ok()) << ::ftd::StatusOf(expr)
// Fails unless `expr` is an error of `code` and `reason` whose message holds `text`.
#define EXPECT_ERROR(expr, expected_code, reason, text)                                \
  do {                                                                                 \
    const absl::Status status_under_test = ::ftd::StatusOf(expr);                      \
    EXPECT_EQ(status_under_test.code(), expected_code) << status_under_test;           \
    EXPECT_EQ(::ftd::ReasonOf(status_under_test), reason) << status_under_test;        \
    EXPECT_THAT(std::string(status_under_test.message()), ::testing::HasSubstr(text)); \
  } while (false)
