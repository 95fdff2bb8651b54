// Rows and order against pandas and `datasets` on whole files: tests/worker/data/formats_test.py.
#include "lib/data/rows/csv_rows.h"

#include "lib/base/concat.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using testing::ElementsAre;
// Each row as "LINE: cell|cell", null cells as ~, bad rows with what is wrong.
absl::StatusOr<std::vector<std::string>> ReadCsv(std::string_view bytes, char delimiter = ',') {
  FTD_ASSIGN_OR_RETURN(auto stream, OpenByteStreamInMemory(bytes, "a.csv"));
  const auto reader = OpenCsvRows(std::move(stream), "a.csv", delimiter);
  std::vector<std::string> rows;
  Row row;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool found, reader->Next(&row));
    if (!found) return rows;
    std::string text = Concat(row.number, ": ");
    for (size_t i = 0; i < row.cells.size(); ++i) {
      const bool is_null = row.cells[i].kind == Cell::Kind::kNull;
      text += Concat(i == 0 ? "" : "|", is_null ? "~" : row.cells[i].text);
    }
    rows.push_back(row.problem.ok() ? text : Concat(row.number, ": ", row.problem.message()));
  }
}

TEST(CsvRows, Fields) {
  const struct {
    std::string_view bytes;
    std::vector<std::string> rows;
  } kTable[] = {
      {"a,b\n1,2\n3,4\n", {"2: 1|2", "3: 3|4"}},
      {"a,b\r\n1,2\r\n3,4", {"2: 1|2", "3: 3|4"}},
      {"a,b\r1,2\r3,4\r", {"2: 1|2", "3: 3|4"}},
      {"\xEF\xBB\xBF"
       "a,b\n1,2\n",
       {"2: 1|2"}},
      {"a,b\n\"1,x\",\"say \"\"hi\"\"\"\n", {"2: 1,x|say \"hi\""}},
      {"a,b\n\"line 1\nline 2\r\nline 3\",2\n3,4\n", {"2: line 1\nline 2\r\nline 3|2", "5: 3|4"}},
      {"a,b\n\"\",\n", {"2: |"}},
      {"a,b\n1\n", {"2: 1|~"}},
      {"a\n\n  \n\t\nx\n\"\"\n \" \"\n", {"5: x", "6: ", "7:  \" \""}},
      {"a,b\nit\"s,\"x\"y\"z\n", {"2: it\"s|xy\"z"}},
      {"a,b\n NA ,null\n007,1e3\n", {"2:  NA |null", "3: 007|1e3"}},
      {"a,b\né,🙂\n", {"2: é|🙂"}},
      {"", {}},
      {"a,b\n", {}},
      {"\n\na\n1", {"4: 1"}},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(std::string(row.bytes));
    const auto rows = ReadCsv(row.bytes);
    ASSERT_OK(rows);
    EXPECT_EQ(*rows, row.rows);
  }
}

TEST(CsvRows, Tabs) {
  EXPECT_THAT(*ReadCsv("a\tb\n1,x\t\"2\t3\"\n\t\n", '\t'), ElementsAre("2: 1,x|2\t3", "3: |"));
}

TEST(CsvRows, BadRowsDoNotEndTheReading) {
  EXPECT_THAT(*ReadCsv("a,b\n1,2,3\n4,5\n\xff,6\n7,8\n"),
              ElementsAre("2: has 3 fields, but the header has 2; quote fields that hold the "
                          "delimiter",
                          "3: 4|5", "4: \"a\" is not UTF-8", "5: 7|8"));
}

// A damaged or compressed file may have a header of megabytes.
TEST(CsvRows, MessagesDoNotRepeatLongNames) {
  const std::string name(100'000, 'o');
  const auto bad_row = ReadCsv(Concat(name, "\n\xFF\n"));
  ASSERT_OK(bad_row);
  EXPECT_THAT(*bad_row, ElementsAre(Concat("2: \"", name.substr(0, 60), "…\" is not UTF-8")));
  const auto twice = ReadCsv(Concat(name, ",", name, "\n1,2\n")).status();
  EXPECT_EQ(twice.code(), kInvalid);
  EXPECT_LT(twice.message().size(), 200u);
}

TEST(CsvRows, BadFiles) {
  const struct {
    std::string_view bytes;
    const char* text;
  } kTable[] = {
      {"a,b\n1,2\n3,\"4\n5,6\n", "a.csv line 3: a quote is opened here"},
      {"\"a", "a.csv line 1: a quote is opened here"},
      {"a,b,a\n1,2,3\n", "a.csv line 1: the header has the column \"a\" twice"},
      {"a,\xff\n1,2\n", "a.csv line 1: the header is not UTF-8"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(std::string(row.bytes));
    EXPECT_ERROR(ReadCsv(row.bytes), kInvalid, "DATASET_INVALID", row.text);
  }
}

}  // namespace
}  // namespace ftd
