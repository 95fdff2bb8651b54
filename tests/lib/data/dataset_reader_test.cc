#include "lib/data/dataset_reader.h"

#include "lib/base/concat.h"
#include "nlohmann/json.hpp"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using nlohmann::json;
using testing::ElementsAre;
absl::StatusOr<std::vector<std::string>> Texts(DatasetReader& reader) {
  std::vector<std::string> texts;
  Example example;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool found, reader.Next(&example));
    if (!found) return texts;
    texts.push_back(example.text);
  }
}

absl::StatusOr<std::vector<std::string>> ReadDataset(std::string_view bytes, int64_t limit = 0) {
  const TempDir dir;
  DatasetReader reader({.files = {{dir.Write("upload", bytes), "rows.jsonl", ""}}, .limit = limit});
  return Texts(reader);
}

// The words of NVIDIA's script.
constexpr char kAlpaca[] =
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response "
    "that appropriately completes the request.\n### Instruction: I\n\n### Input: N\n\n### "
    "Response: O";

TEST(Dataset, RowsOfEveryKind) {
  std::string without_input = kAlpaca;
  without_input.erase(without_input.find('N', without_input.find("Input")), 1);
  const auto texts = ReadDataset(
      R"({"instruction":"I","input":"N","output":"O"})"
      "\n"
      R"({"instruction":"I","output":"O"})"
      "\r\n"
      "\n   \t\r\n"
      R"({"instruction":"I","input":null,"output":"O","text":"not this"})"
      "\n"
      R"({"text":"plain é\u0000🙂","meta":{"text":3,"deep":[1,[2,{"text":4}]]},"n":1e3})"
      "\n"
      R"({"text":"first","text":"last wins","output":"ignored"})"
      "\n"
      R"({"prompt":"P ","completion":"C","text":"not this"})");
  ASSERT_OK(texts);
  EXPECT_THAT(*texts, ElementsAre(kAlpaca, without_input, without_input,
                                  std::string("plain é\0🙂", 13), "last wins", "P C"));
}

TEST(Dataset, AnArrayOverManyLines) {
  const auto texts = ReadDataset(
      "\xEF\xBB\xBF \n[\n {\"text\": \"a\",\n  \"x\": []},\r\n\r\n {\"text\": \"b\"}\n]\n");
  ASSERT_OK(texts);
  EXPECT_THAT(*texts, ElementsAre("a", "b"));
}

TEST(Dataset, AByteOrderMarkAndNoLastNewline) {
  EXPECT_THAT(*ReadDataset("\xEF\xBB\xBF{\"text\":\"a\"}\n{\"text\":\"b\"}"),
              ElementsAre("a", "b"));
}

TEST(Dataset, TheLimitSparesWhatComesBehind) {
  EXPECT_THAT(*ReadDataset("{\"text\":\"a\"}\n{\"text\":\"b\"}\nnot json", 2),
              ElementsAre("a", "b"));
  EXPECT_THAT(*ReadDataset(R"([{"text":"a"},{"text":"b"}, not json)", 2), ElementsAre("a", "b"));
  EXPECT_THAT(*ReadDataset(R"({"text":"a"})", 5), ElementsAre("a"));
}

TEST(Dataset, BadRowsAreNamedByLine) {
  const std::string good = "{\"text\":\"a\"}\n";
  const struct {
    std::string row;
    const char* text;
  } kTable[] = {
      {R"({"text":"a")", "not JSON at column"},
      {R"({"text":"a"} {"text":"b"})", "not JSON at column"},
      {R"({"text":"a\x"})", "not JSON at column"},
      {std::string("{\"text\":\"\xff\"}"), "not JSON at column"},
      {std::string("{\"text\":\"\xe2\x82\"}"), "not JSON at column"},
      {std::string("{\"text\":\"a\0b\"}", 14), "not JSON at column"},
      {R"({"text":"\ud800"})", "not JSON at column"},
      {"hello", "not JSON at column"},
      {R"(["a"])", "a row must be an object"},
      {R"("a")", "a row must be an object"},
      {"3", "a row must be an object"},
      {"null", "a row must be an object"},
      {"{}", R"(none of "messages")"},
      {R"({"text":null})", R"("text" is null)"},
      {R"({"prompt":"a","completion":null})",
       R"("completion" is null or missing; a prompt/completion)"},
      {R"({"instruction":"I","output":null})", R"("output" is null or missing; an Alpaca row)"},
      {R"({"instruction":null,"input":null,"output":null})", R"("instruction" is null)"},
      {R"({"text":NaN})", "\"text\" must be a string"},
      {R"({"text":"a","b":NaNa})", "not JSON at column"},
      {R"({"text":"a","b":nan})", "not JSON at column"},
      {R"({"text":3})", "\"text\" must be a string"},
      {R"({"text":["a"]})", "\"text\" must be a string"},
      {R"({"text":{"a":"b"}})", "\"text\" must be a string"},
      {R"({"text":true})", "\"text\" must be a string"},
      {R"({"instruction":"I","input":"N"})",
       R"("output" is missing; an Alpaca row needs instruction, input, output)"},
      {R"({"output":"O"})", "\"instruction\" is missing"},
      {R"({"instruction":1,"output":"O"})", "\"instruction\" must be a string"},
      {R"({"instruction":"I","input":7,"output":"O"})", "\"input\" must be a string"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.row);
    EXPECT_ERROR(ReadDataset(Concat(good, "\r\n", good, row.row, "\n", good)), kInvalid,
                 "DATASET_INVALID", row.text);
    EXPECT_THAT(
        std::string(
            ReadDataset(Concat(good, "\r\n", good, row.row, "\n", good)).status().message()),
        testing::StartsWith("rows.jsonl line 4: "));
  }
}

// As Python's json.dumps writes them.
TEST(Dataset, NumbersThatAreNoneDoNotMatter) {
  const std::string rows =
      "{\"score\": NaN, \"text\": \"a \\\"NaN\\\" Infinity\"}\n"
      "{\"text\": \"NaN\", \"a\": [-Infinity, {\"b\": Infinity}], \"c\": -Infinity}\n";
  const auto read = ReadDataset(rows);
  ASSERT_OK(read);
  EXPECT_THAT(*read, ElementsAre("a \"NaN\" Infinity", "NaN"));
}

TEST(Dataset, BadArraysNameTheRow) {
  EXPECT_ERROR(ReadDataset(R"([{"text":"a"},{}])"), kInvalid, "DATASET_INVALID",
               "rows.jsonl row 2: none of");
  EXPECT_ERROR(ReadDataset("[{\"text\":\"a\"},\n\n3]"), kInvalid, "DATASET_INVALID",
               "rows.jsonl row 2: a row must be");
  EXPECT_ERROR(ReadDataset("[{\"text\":\"a\"},\n\n{\"text\":]"), kInvalid, "DATASET_INVALID",
               "rows.jsonl line 3, row 2: not JSON");
  EXPECT_ERROR(ReadDataset(R"([{"text":"a"})"), kInvalid, "DATASET_INVALID", "not JSON");
  EXPECT_ERROR(ReadDataset(R"([{"text":"a"}] x)"), kInvalid, "DATASET_INVALID", "not JSON");
}

TEST(Dataset, NoRows) {
  for (const char* bytes : {"", "\n\r\n  \n", "[]", "\xEF\xBB\xBF", " [ ] "}) {
    EXPECT_ERROR(ReadDataset(bytes), kInvalid, "DATASET_INVALID", "rows.jsonl has no rows");
  }
  DatasetReader gone({.files = {{"/nowhere/rows.jsonl", "rows.jsonl", ""}}});
  EXPECT_EQ(Texts(gone).status().code(), absl::StatusCode::kNotFound);
}

TEST(Dataset, MessagesAreValidUtf8AndShort) {
  const auto status = ReadDataset(R"({"text":")" + std::string(1000, 'a') + "é\xff\"}").status();
  EXPECT_LT(status.message().size(), 400u);
  EXPECT_NO_THROW(json(std::string(status.message())).dump());
}

// Files a.jsonl, b.csv, … of a temporary folder, read one after the other.
struct Files {
  Files(std::initializer_list<std::pair<std::string, std::string>> contents) {
    for (const auto& [name, bytes] : contents)
      options.files.push_back({dir.Write(name, bytes), name, ""});
  }
  absl::StatusOr<std::vector<std::string>> Read() {
    reader.emplace(options);
    return Texts(*reader);
  }
  TempDir dir;
  DatasetOptions options;
  std::optional<DatasetReader> reader;
};

TEST(Dataset, FilesFollowOneAnother) {
  Files files{{"a.jsonl", "{\"text\":\"1\"}\n{\"text\":\"2\"}"},
              {"empty.jsonl", "\n"},
              {"b.csv", "text,n\n3,x\n"},
              {"c.json", R"([{"text":"4"},{"text":"5"}])"},
              {"d.tsv", "n\ttext\nx\t6\n"}};
  EXPECT_THAT(*files.Read(), ElementsAre("1", "2", "3", "4", "5", "6"));
  EXPECT_EQ(files.reader->rows(), 6);
  EXPECT_EQ(files.reader->consumed_bytes(), files.reader->total_bytes());
  Example example;
  EXPECT_FALSE(*files.reader->Next(&example)) << "the end stays the end";
  files.options.limit = 3;
  EXPECT_THAT(*files.Read(), ElementsAre("1", "2", "3"));
}

TEST(Dataset, BadRowsOfSeveralFilesAreNamedByTheirOwn) {
  Files files{{"a.jsonl", "{\"text\":\"1\"}\n"}, {"b.csv", "text\n2\n3,4\n"}};
  EXPECT_ERROR(files.Read(), kInvalid, "DATASET_INVALID", "b.csv line 3: has 2 fields");
  Files empty{{"a.jsonl", ""}, {"b.csv", "text\n"}};
  EXPECT_ERROR(empty.Read(), kInvalid, "DATASET_INVALID", "the 2 files have no rows");
}

TEST(Dataset, BadRowsMayBeSkippedUpToABound) {
  Files files{{"a.jsonl", "{\"text\":\"1\"}\noops\n{\"text\":2}\n{\"text\":\"3\"}\n"},
              {"b.json", R"([{"n":1},{"text":"4"},7,{"text":"5"}])"}};
  files.options.skip_bad_rows = 4;
  EXPECT_THAT(*files.Read(), ElementsAre("1", "3", "4", "5"));
  EXPECT_EQ(files.reader->skipped_rows(), 4);
  const std::vector<std::string> places = {
      "a.jsonl line 2: ", "a.jsonl line 3: ", "b.json row 1: ", "b.json row 3: "};
  ASSERT_EQ(files.reader->skipped_reasons().size(), places.size());
  for (size_t i = 0; i < places.size(); ++i)
    EXPECT_THAT(files.reader->skipped_reasons()[i], testing::StartsWith(places[i]));
  files.options.skip_bad_rows = 3;
  EXPECT_ERROR(files.Read(), kInvalid, "DATASET_INVALID",
               "b.json row 3: a row must be an object; 3 bad rows before it were skipped");
}

TEST(Dataset, NoGoodRowIsAnError) {
  Files files{{"a.jsonl", "oops\noops\n"}};
  files.options.skip_bad_rows = 9;
  EXPECT_ERROR(files.Read(), kInvalid, "DATASET_INVALID", "a.jsonl: no row is good");
}

TEST(Dataset, ABrokenArrayEndsTheReadingEvenWhereRowsMayBeSkipped) {
  Files files{{"a.json", R"([{"text":"1"},{"text":},{"text":"2"}])"}};
  files.options.skip_bad_rows = 9;
  EXPECT_ERROR(files.Read(), kInvalid, "DATASET_INVALID", "a.json line 1, row 2: not JSON");
}

TEST(Dataset, ColumnarFilesNeedArrow) {
  Files files{{"a.parquet", "PAR1"}};
  EXPECT_ERROR(files.Read(), absl::StatusCode::kUnimplemented, "MODE_UNSUPPORTED",
               "a.parquet: this build reads no Parquet");
  files.options.open_columnar = [](const std::filesystem::path&, const std::string&,
                                   const std::vector<std::string>&) {
    return absl::StatusOr<std::unique_ptr<RowReader>>(absl::InternalError("opened"));
  };
  EXPECT_EQ(files.Read().status().message(), "opened");
  files.options.files[0].name = "a.parquet.gz";
  EXPECT_ERROR(files.Read(), kInvalid, "DATASET_INVALID", "decompress");
  files.options.files[0].name = "a.xml";
  EXPECT_ERROR(files.Read(), kInvalid, "DATASET_INVALID", "a.xml: .json, .jsonl, .csv");
}

TEST(Dataset, RowsOfManyMebibytesAndLinesWithoutEnd) {
  Files files{
      {"a.jsonl", Concat(R"({"text":")", std::string(5 << 20, 'x'), "\"}\n{\"text\":\"b\"}\n")},
      {"b.json", Concat(R"([{"text":")", std::string(5 << 20, 'y'), "\"}]")},
      {"c.csv", Concat("text\n\"", std::string(5 << 20, '\n'), "\"\n")}};
  const auto texts = files.Read();
  ASSERT_OK(texts);
  EXPECT_EQ((*texts)[0].size(), 5u << 20);
  EXPECT_EQ((*texts)[1], "b");
  EXPECT_EQ((*texts)[2].size(), 5u << 20);
  EXPECT_EQ((*texts)[3], std::string(5 << 20, '\n'));
  const std::string endless(kMaxRowBytes + 100, 'x');
  const std::pair<std::string, std::string> kTable[] = {
      {"a.jsonl", Concat(R"({"text":")", endless)},
      {"b.json", Concat(R"([{"text":")", endless)},
      {"c.csv", Concat("text\n\"", endless)},
  };
  for (const auto& [name, bytes] : kTable)
    EXPECT_ERROR((Files{{name, bytes}}).Read(), kInvalid, "DATASET_INVALID", "longer than 64 MiB");
}

}  // namespace
}  // namespace ftd
