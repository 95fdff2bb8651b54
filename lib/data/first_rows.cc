#include "lib/data/first_rows.h"

#include <fstream>
#include <string_view>
#include <system_error>
#include <utility>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/steady_clock.h"

namespace ftd {
namespace {

// Stands in for Arrow where that is not linked. A file's content decides between Parquet and Arrow,
// not its name. UNIMPLEMENTED: the marks are right, and no more can be said.
absl::StatusOr<std::unique_ptr<RowReader>> LookAtMarks(
    const std::filesystem::path& path, const std::string& name,
    const std::vector<std::string>& /*nested_columns*/) {
  constexpr std::streamoff kMark = 4;
  char first[kMark] = {}, last[kMark] = {};
  std::ifstream in(path, std::ios::binary);
  in.read(first, kMark);
  in.seekg(-kMark, std::ios::end);
  in.read(last, kMark);
  if (!in) return DatasetInvalid(Concat(name, ": too short for a Parquet or Arrow file"));
  const std::string_view head(first, kMark), tail(last, kMark);
  // "PARE" ends a file with an encrypted footer, about which the reader has more to say.
  if (head == "PAR1" && tail != "PAR1" && tail != "PARE") {
    return DatasetInvalid(
        Concat(name, ": the Parquet file is cut off; it must end with PAR1, as it begins"));
  }
  const bool stream = head == "\xff\xff\xff\xff";
  if (name.ends_with(".parquet") && head != "PAR1" && head != "PARE" && head != "ARRO" && !stream)
    return DatasetInvalid(Concat(name, ": not a Parquet file; it must begin with PAR1"));
  return absl::UnimplementedError("only the marks were looked at");
}

}  // namespace

absl::Status JudgeFirstRows(DatasetOptions options, int64_t most_rows, absl::Duration most_time) {
  const Moment until = SteadyNow() + most_time;
  std::erase_if(options.files, [](const DatasetInput& file) {
    std::error_code error;
    return !std::filesystem::exists(file.path, error);
  });
  if (options.files.empty()) return absl::OkStatus();
  if (options.limit == 0 || options.limit > most_rows) options.limit = most_rows;
  const bool marks_only = options.open_columnar == nullptr;
  if (marks_only) options.open_columnar = &LookAtMarks;
  DatasetReader reader(std::move(options));
  Example example;
  while (SteadyNow() < until) {
    const absl::StatusOr<bool> found = reader.Next(&example);
    if (marks_only && absl::IsUnimplemented(found.status())) break;
    FTD_RETURN_IF_ERROR(found.status());
    if (!*found) break;
  }
  return absl::OkStatus();
}

}  // namespace ftd
