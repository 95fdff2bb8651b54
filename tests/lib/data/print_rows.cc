// Rows of a dataset file as a filter, for tests in Python: print_rows [--no-rows] FILE NAME…
//
// Prints a JSON object a line for each row: {"row": number, "problem": text or null, "cells":
// [[name, kind, text], …]}. Cells of kind nested keep their text in the columns NAME…. Ends with 1
// and a message if the file cannot be read. With --no-rows only the number of rows is printed.
#include <iostream>
#include <memory>
#include <string>
#include <vector>

#include "lib/data/dataset_files.h"
#include "lib/data/rows/byte_stream.h"
#include "lib/data/rows/csv_rows.h"
#include "lib/data/rows/json_rows.h"
#include "nlohmann/json.hpp"
#ifdef FTD_ARROW
#include "lib/data/rows/arrow_rows.h"
#endif

namespace {

using Names = std::vector<std::string>;

absl::StatusOr<std::unique_ptr<ftd::RowReader>> Open(const std::string& path, const Names& names) {
  FTD_ASSIGN_OR_RETURN(const ftd::DatasetFormat format, ftd::FormatOfName(path));
#ifdef FTD_ARROW
  if (ftd::IsColumnar(format)) return ftd::OpenArrowRows(path, path, names);
#endif
  FTD_ASSIGN_OR_RETURN(auto stream, ftd::OpenByteStream(path, path));
  if (format == ftd::DatasetFormat::kJson) return ftd::OpenJsonRows(std::move(stream), path, names);
  return ftd::OpenCsvRows(std::move(stream), path, ',');
}

const char* NameOf(ftd::Cell::Kind kind) {
  constexpr const char* kNames[] = {"null", "text", "integer", "nested", "other"};
  return kNames[static_cast<int>(kind)];
}

void Print(const ftd::Row& row) {
  nlohmann::json cells = nlohmann::json::array();
  for (const ftd::Cell& cell : row.cells)
    cells.push_back({cell.name, NameOf(cell.kind), cell.text});
  nlohmann::json line = {{"row", row.number}, {"problem", nullptr}, {"cells", cells}};
  if (!row.problem.ok()) line["problem"] = std::string(row.problem.message());
  std::cout << line.dump() << "\n";
}

}  // namespace

int main(int argc, char** argv) {
  Names arguments(argv + 1, argv + argc);
  const bool no_rows = !arguments.empty() && arguments[0] == "--no-rows";
  if (no_rows) arguments.erase(arguments.begin());
  if (arguments.empty()) return 2;
  const std::string path = arguments[0];
  arguments.erase(arguments.begin());
  const auto reader = Open(path, arguments);
  if (!reader.ok()) {
    std::cerr << reader.status().message() << "\n";
    return 1;
  }
  ftd::Row row;
  absl::StatusOr<bool> found;
  while ((found = (*reader)->Next(&row)).ok() && *found) {
    if (!no_rows) Print(row);
  }
  if (no_rows) std::cout << row.number << "\n";
  if (found.ok()) return 0;
  std::cerr << found.status().message() << "\n";
  return 1;
}
