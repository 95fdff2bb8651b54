#include "lib/spec/dataset_spec.h"

#include "lib/base/concat.h"
#include "lib/base/sha256.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using nlohmann::json;

const std::string kSha = Sha256Hex("rows"), kOther = Sha256Hex("others");

struct Judged {
  DatasetSpec spec;
  std::vector<FieldViolation> bad;
};
Judged Judge(const json& dataset) {
  Judged judged;
  ReadDatasetSpec(dataset, &judged.spec, &judged.bad);
  return judged;
}

TEST(DatasetSpec, ItsJsonReadsAsItself) {
  const json kTable[] = {
      {{"upload_sha256", kSha}, {"file_name", "rows.csv"}, {"size", "7"}, {"skip_bad_rows", 3}},
      {{"files", {{{"sha256", kSha}, {"name", "a.csv"}}, {{"sha256", kOther}, {"name", "b.csv"}}}},
       {"columns", {{"instruction", "q"}, {"output", "a"}}},
       {"shape", "ALPACA"},
       {"train_on", "COMPLETIONS"}},
      {{"server_path", "/data"},
       {"files", {{{"sha256", kSha}, {"name", "a"}, {"server_path", "/data/a"}}}},
       {"template", "{q}"},
       {"shape", "SHAPE_UNSPECIFIED"}},
  };
  for (const json& dataset : kTable) {
    SCOPED_TRACE(dataset.dump());
    const Judged first = Judge(dataset);
    ASSERT_TRUE(first.bad.empty()) << first.bad[0].description;
    const std::string text = DatasetSpecToJson(first.spec).dump();
    const Judged second = Judge(json::parse(text));
    EXPECT_TRUE(second.bad.empty());
    EXPECT_EQ(DatasetSpecToJson(second.spec).dump(), text);
    for (const auto& [key, value] : dataset.items()) {
      const json expected = value == "SHAPE_UNSPECIFIED" ? json(nullptr) : value;
      EXPECT_TRUE(!value.is_string() || key == "size" || json::parse(text)[key] == expected) << key;
    }
  }
}

TEST(DatasetSpec, TheDefaultIsThePlaybooks) {
  for (const json& dataset : {json::object(), json{{"size", 7}}}) {
    const Judged judged = Judge(dataset);
    ASSERT_TRUE(judged.bad.empty());
    EXPECT_EQ(judged.spec.hub.name, "tatsu-lab/alpaca");
    EXPECT_EQ(judged.spec.hub.split, "train");
    EXPECT_EQ(judged.spec.size, dataset.empty() ? 512 : 7);
  }
}

TEST(DatasetSpec, BadFieldsAreNamed) {
  const json file = {{"sha256", kSha}, {"name", "a.csv"}};
  const struct {
    json dataset;
    const char* field;
  } kTable[] = {
      {{{"hub", {{"name", "no/such/name"}}}}, "dataset.hub.name"},
      {{{"hub", 3}}, "dataset.hub"},
      {{{"upload_sha256", "abc"}}, "dataset.upload_sha256"},
      {{{"upload_sha256", kSha}, {"files", {file}}}, "dataset.files"},
      {{{"files", {{{"sha256", "x"}}}}}, "dataset.files.sha256"},
      {{{"upload_sha256", kSha}, {"files", 3}}, "dataset.files"},
      {{{"upload_sha256", kSha}, {"files", {3}}}, "dataset.files"},
      {{{"files", {file, {{"sha256", kSha}, {"name", "a.txt"}}}}}, "dataset.files"},
      {{{"upload_sha256", kSha}, {"file_name", "a.zip"}}, "dataset.file_name"},
      {{{"upload_sha256", kSha}, {"size", -1}}, "dataset.size"},
      {{{"upload_sha256", kSha}, {"skip_bad_rows", -1}}, "dataset.skip_bad_rows"},
      {{{"upload_sha256", kSha}, {"shape", "CHAT"}}, "dataset.shape"},
      {{{"upload_sha256", kSha}, {"shape", 9}}, "dataset.shape"},
      {{{"upload_sha256", kSha}, {"train_on", "NONE"}}, "dataset.train_on"},
      {{{"upload_sha256", kSha}, {"columns", 3}}, "dataset.columns"},
      {{{"upload_sha256", kSha}, {"columns", {{"text", 3}}}}, "dataset.columns"},
      {{{"upload_sha256", kSha}, {"columns", {{"txt", "a"}}}}, "dataset.columns"},
      {{{"upload_sha256", kSha}, {"template", "{"}}, "dataset.template"},
      {{{"upload_sha256", kSha}, {"template", "{a}"}, {"train_on", "COMPLETIONS"}},
       "dataset.train_on"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.dataset.dump());
    const Judged judged = Judge(row.dataset);
    ASSERT_FALSE(judged.bad.empty());
    EXPECT_EQ(judged.bad[0].field, row.field);
  }
}

TEST(DatasetSpec, TheFilesAndTheirHash) {
  const DatasetSpec one = Judge({{"upload_sha256", kSha}, {"file_name", "a.csv"}}).spec;
  ASSERT_EQ(FilesOf(one).size(), 1u);
  EXPECT_EQ(FilesOf(one)[0].name, "a.csv");
  EXPECT_EQ(DatasetSha256(FilesOf(one)), kSha);
  EXPECT_EQ(DatasetSha256({{kSha, "a", ""}, {kOther, "b", ""}}),
            Sha256Hex(Concat(kSha, "\n", kOther, "\n")));
}

TEST(DatasetSpec, WordsOfACommandLine) {
  EXPECT_EQ(EnumWord("prompt-completion"), "PROMPT_COMPLETION");
  EXPECT_EQ(UnescapedTemplate(R"(Q: {q}\nA:\t{a}\\n \x\)"), "Q: {q}\nA:\t{a}\\n \\x\\");
  const std::map<std::string, std::string> columns = {{"instruction", "q"},
                                                      {"output", "an answer"}};
  EXPECT_EQ(*ParseColumnMap("instruction=q,output=an answer"), columns);
  EXPECT_TRUE(ParseColumnMap("")->empty());
  for (const char* text : {"a", "a=", "=b", "a=b,,c=d", ","}) {
    EXPECT_ERROR(ParseColumnMap(text), absl::StatusCode::kInvalidArgument, "USAGE", "FIELD=COLUMN");
  }
}

}  // namespace
}  // namespace ftd
